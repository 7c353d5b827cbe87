//! Names and addresses that follow from the attachment, the same at every call.

use std::path::Path;

use crate::api::AttachmentKey;
use crate::mac::Mac;

/// Name of the host end of an attachment's veth: `weft` and 44 bits of hash, 15 bytes in all.
pub fn host_ifname(key: &AttachmentKey) -> String {
    format!("weft{:011x}", hash(key, "name") >> 20)
}

/// MAC of the host end: unicast, locally administered.
///
/// Set by us, because udev may replace an address that the kernel chose.
pub fn host_mac(key: &AttachmentKey) -> Mac {
    local_mac(hash(key, "host"))
}

/// MAC of the pod's interface, unless the configuration names one.
pub fn pod_mac(key: &AttachmentKey) -> Mac {
    local_mac(hash(key, "pod"))
}

/// Link group that marks the host ends of the agent with this run directory.
///
/// Never 0, the group of every other link, nor the group one above, where links wait for removal.
pub fn link_group(run_dir: &Path) -> u32 {
    let low = fnv1a(run_dir.as_os_str().as_encoded_bytes()) & 0x00ff_fffe;
    // "W" in the top byte; the lowest bit is free for the condemned.
    u32::from(b'W') << 24 | u32::try_from(low).unwrap_or_default()
}

fn hash(key: &AttachmentKey, purpose: &str) -> u64 {
    fnv1a([purpose, "\0", &key.container_id, "\0", &key.ifname].concat().as_bytes())
}

/// FNV-1a, 64 bits: stable across releases, unlike the standard library's hasher.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn local_mac(hash: u64) -> Mac {
    let [_, _, mut mac @ ..] = hash.to_be_bytes();
    mac[0] = mac[0] & 0xfc | 0x02;
    Mac(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(container_id: &str, ifname: &str) -> AttachmentKey {
        AttachmentKey { container_id: container_id.into(), ifname: ifname.into() }
    }

    #[test]
    fn names_are_stable_and_fit() {
        let name = host_ifname(&key("0123456789abcdef", "eth0"));
        assert_eq!(name, host_ifname(&key("0123456789abcdef", "eth0")));
        assert_eq!(name.len(), 15);
        assert!(name.starts_with("weft"));
        assert_ne!(name, host_ifname(&key("0123456789abcdef", "eth1")));
    }

    #[test]
    fn both_ends_have_their_own_unicast_mac() {
        let key = key("c", "eth0");
        assert_ne!(host_mac(&key), pod_mac(&key));
        assert!(host_mac(&key).is_unicast() && pod_mac(&key).is_unicast());
    }

    #[test]
    fn groups_are_even_and_marked() {
        let group = link_group(Path::new("/run/weft"));
        assert_eq!(group >> 24, u32::from(b'W'));
        assert_eq!(group & 1, 0);
        assert_ne!(group, link_group(Path::new("/run/other")));
    }
}

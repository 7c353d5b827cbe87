//! The places where a program runs, and the devices that have them.

use aya::programs::TcAttachType;
use nix::net::if_::if_indextoname;
use weft_abi::Hook;

/// What a device is to us, which decides the programs that run on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The host end of a pod's veth.
    Pod,
    /// Leads off the node.
    Uplink,
    /// Wraps packets to other nodes' pods.
    Overlay,
    /// Brings packets from outside a second time.
    Relay,
    /// Where packets of limited pods go in to wait for their turn.
    Shaper,
    /// Where they come out.
    Shaped,
    /// The node's own `lo`.
    Loopback,
}

impl Role {
    /// Its programs: that of tc ingress, then that of tc egress if it has one.
    pub(super) const fn hooks(self) -> &'static [Hook] {
        match self {
            Self::Pod => &[Hook::FromPod, Hook::ToPod],
            Self::Uplink => &[Hook::FromNetdev, Hook::ToNetdev],
            Self::Overlay => &[Hook::FromOverlay, Hook::ToOverlay],
            Self::Relay => &[Hook::FromNetdev],
            Self::Shaper => &[Hook::FromShaper, Hook::ToShaper],
            Self::Shaped => &[Hook::FromShaper],
            Self::Loopback => &[Hook::FromLoopback],
        }
    }

    /// The role of the devices with that hook and all others of its kind.
    pub(super) const fn of(hook: Hook) -> Self {
        match hook {
            Hook::FromPod | Hook::ToPod => Self::Pod,
            Hook::FromNetdev | Hook::ToNetdev => Self::Uplink,
            Hook::FromOverlay | Hook::ToOverlay => Self::Overlay,
            Hook::FromShaper | Hook::ToShaper => Self::Shaper,
            Hook::FromLoopback => Self::Loopback,
        }
    }
}

/// The side of the device that the hook's program is for.
pub(super) const fn attach_type(hook: Hook) -> TcAttachType {
    match hook {
        Hook::FromPod | Hook::FromNetdev | Hook::FromOverlay | Hook::FromShaper | Hook::FromLoopback => {
            TcAttachType::Ingress
        }
        Hook::ToPod | Hook::ToNetdev | Hook::ToOverlay | Hook::ToShaper => TcAttachType::Egress,
    }
}

/// A device that programs are attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its interface index.
    pub index: u32,
}

/// The name of a device of this namespace, while it is there.
pub(crate) fn device_name(index: u32) -> Option<String> {
    // nix takes the null pointer of a failure for success.
    if_indextoname(index).ok().and_then(|name| name.into_string().ok()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_name_while_it_is_there() {
        assert_eq!(device_name(1).as_deref(), Some("lo"));
        assert_eq!(device_name(i32::MAX.unsigned_abs()), None);
    }

    #[test]
    fn a_relay_sends_nothing_off() {
        assert!(Role::Relay.hooks().iter().all(|hook| attach_type(*hook) == TcAttachType::Ingress));
    }

    #[test]
    fn every_hook_has_its_device_and_side() {
        for hook in Hook::ALL {
            let hooks = Role::of(hook).hooks();
            let sides: Vec<_> = hooks.iter().copied().map(attach_type).collect();
            assert!([TcAttachType::Ingress, TcAttachType::Egress].starts_with(&sides));
            assert!(hooks.contains(&hook));
        }
    }
}

//! Where addresses live: `peers`, `uplinks`, `masq_exempt`.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{HashMap, LpmTrie};
use aya_ebpf::macros::btf_map;
use weft_abi::{Addr, MASQ_EXEMPT_MAX, PEERS_MAX, Peer, Prefix, UPLINKS_MAX, Uplink};

#[btf_map(name = "peers")]
static PEERS: LpmTrie<Addr, Peer, { PEERS_MAX as usize }> = LpmTrie::new();

#[btf_map(name = "uplinks")]
static UPLINKS: HashMap<u32, Uplink, { UPLINKS_MAX as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

#[btf_map(name = "masq_exempt")]
static MASQ_EXEMPT: LpmTrie<Addr, u32, { MASQ_EXEMPT_MAX as usize }> = LpmTrie::new();

const _: () = assert!(size_of::<Prefix>() == size_of::<Key<Addr>>());

/// The node behind the longest range that has the address, or the entry of the node whose own address it is.
#[inline(always)]
pub(crate) fn peer(addr: &Addr) -> Option<&'static Peer> {
    PEERS.get(&Key::new(Prefix::FULL, *addr))
}

/// The uplink of that interface index.
#[inline(always)]
pub(crate) fn uplink(ifindex: u32) -> Option<&'static Uplink> {
    // SAFETY: entries are replaced whole and freed after a grace period, which outlasts this program's run.
    unsafe { UPLINKS.get(ifindex) }
}

/// Whether pods show themselves as they are to that destination.
#[inline(always)]
pub(crate) fn is_exempt(addr: &Addr) -> bool {
    MASQ_EXEMPT.get(&Key::new(Prefix::FULL, *addr)).is_some()
}

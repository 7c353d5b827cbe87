//! What sockets of the node asked for: `socks`.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use aya_ebpf::btf_maps::LruHashMap;
use aya_ebpf::macros::btf_map;
use weft_abi::{SOCKS_MAX, SockPeer, Target};

#[btf_map(name = "socks")]
static SOCKS: LruHashMap<SockPeer, Target, { SOCKS_MAX as usize }> = LruHashMap::new();

/// What that socket asked for when it was given that pod.
#[inline(always)]
pub(crate) fn asked(peer: &SockPeer) -> Option<Target> {
    // SAFETY: the entry is copied at once; another socket's in its place would be a wrong address that is shown, once.
    unsafe { SOCKS.get(peer) }.copied()
}

/// Notes what a socket asked for. Without room the pod's own address is shown, and that is all.
#[inline(always)]
pub(crate) fn note_asked(peer: &SockPeer, target: &Target) {
    if asked(peer).as_ref() != Some(target) {
        let _ = SOCKS.insert(peer, target, 0);
    }
}

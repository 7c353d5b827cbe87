//! Ports of the node that are pods': `ports`, `node_addrs`.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use weft_abi::{Addr, HostPort, NODE_ADDRS_MAX, PORTS_MAX, Target};

#[btf_map(name = "ports")]
static PORTS: HashMap<Target, HostPort, { PORTS_MAX as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

#[btf_map(name = "node_addrs")]
static NODE_ADDRS: HashMap<Addr, u32, { NODE_ADDRS_MAX as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Whose port that is: of this address, else of every address in its family, which takes the place of the key's.
#[inline(always)]
pub(crate) fn host_port(target: &mut Target) -> Option<&'static HostPort> {
    // SAFETY: entries are replaced whole and freed after a grace period, which outlasts this program's run.
    let exact = unsafe { PORTS.get(*target) };
    if exact.is_some() {
        return exact;
    }
    target.addr = if target.addr.is_v4() { Addr::from_v4_word(0) } else { Addr::default() };
    // SAFETY: as above.
    unsafe { PORTS.get(*target) }
}

/// Whether the node has that address; one of the loopback device's does not count.
#[inline(always)]
pub(crate) fn is_node_addr(addr: &Addr) -> bool {
    // SAFETY: as above.
    unsafe { NODE_ADDRS.get(addr) }.is_some()
}

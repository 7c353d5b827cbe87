//! What the agent sets before it loads the programs: constants to the verifier.

use aya_ebpf::Global;

#[expect(unsafe_code, reason = "the agent finds the constants by their names")]
#[unsafe(no_mangle)]
static OVERLAY_PORT: Global<u32> = Global::new(0);

#[expect(unsafe_code, reason = "the agent finds the constants by their names")]
#[unsafe(no_mangle)]
static HOST_ROUTING: Global<u32> = Global::new(0);

/// The overlay's UDP port in network byte order; 0 without overlay, which is no packet's port.
#[inline(always)]
pub(crate) fn overlay_port() -> u16 {
    (OVERLAY_PORT.load() as u16).to_be()
}

/// Whether pods' packets to other machines go past the node's stack.
#[inline(always)]
pub(crate) fn host_routing() -> bool {
    HOST_ROUTING.load() != 0
}

//! What the agent sets before it loads the programs: constants to the verifier.

use aya_ebpf::Global;

#[expect(unsafe_code, reason = "the agent finds the constants by their names")]
#[unsafe(no_mangle)]
static OVERLAY_PORT: Global<u32> = Global::new(0);

#[expect(unsafe_code, reason = "the agent finds the constants by their names")]
#[unsafe(no_mangle)]
static HOST_ROUTING: Global<u32> = Global::new(0);

#[expect(unsafe_code, reason = "the agent finds the constants by their names")]
#[unsafe(no_mangle)]
static NETNS_COOKIE: Global<u64> = Global::new(0);

/// Whether there is an overlay.
#[inline(always)]
pub(crate) fn has_overlay() -> bool {
    OVERLAY_PORT.load() != 0
}

/// Whether that is the overlay's UDP port, in network byte order. A later fragment has port 0, which is nobody's.
#[inline(always)]
pub(crate) fn is_overlay_port(port: u16) -> bool {
    port != 0 && port == (OVERLAY_PORT.load() as u16).to_be()
}

/// Whether pods' packets to other machines go past the node's stack.
#[inline(always)]
pub(crate) fn host_routing() -> bool {
    HOST_ROUTING.load() != 0
}

/// The kernel's number for the node's network namespace; 0 stands for the first one of the machine.
#[inline(always)]
pub(crate) fn netns_cookie() -> u64 {
    NETNS_COOKIE.load()
}

//! weft's eBPF programs: one a hook, on both sides of a pod's host veth.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "x")]

mod hook;
mod maps;

/// Lets the programs call helpers that the kernel keeps for GPL-compatible ones.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual BSD/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

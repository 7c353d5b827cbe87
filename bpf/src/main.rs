//! weft's eBPF programs: one a hook, at pods' host ends, at uplinks and at the overlay device.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(clippy::inline_always, reason = "a call costs more than most bodies, and LLVM leaves many of them")]
#![expect(clippy::cast_possible_truncation, reason = "registers are wider than what they hold, sizes are small")]

mod config;
mod event;
mod hook;
mod maps;
mod parse;
mod rewrite;
mod skb;
mod sock;
mod stage;
mod verdict;

/// Opens the helpers that the kernel keeps for GPL-compatible programs.
#[expect(unsafe_code, reason = "the kernel finds the licence by its section")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual BSD/GPL\0";

/// Never reached: a program that could panic does not load.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

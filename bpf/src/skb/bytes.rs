//! The begin of a packet, read and written in place.

use core::arch::asm;
use core::marker::PhantomData;

use super::Skb;

/// The first `N` bytes of a packet; nothing can move them while this lives.
///
/// Words are read and written by instructions of our own: the kernel lets a program reach packets unaligned, LLVM
/// believes that it must go byte by byte.
pub(crate) struct Bytes<'a, const N: usize> {
    start: usize,
    skb: PhantomData<&'a mut Skb>,
}

impl<const N: usize> Bytes<'_, N> {
    /// The bytes from an address on that the kernel has checked.
    #[inline(always)]
    pub(super) fn at(start: usize) -> Self {
        Self { start, skb: PhantomData }
    }

    /// The byte at an offset.
    #[inline(always)]
    pub(crate) fn byte<const AT: usize>(&self) -> u8 {
        const { assert!(AT < N) };
        let value: u64;
        // SAFETY: the byte lies in the packet.
        unsafe {
            asm!("{v} = *(u8 *)({p} + {at})", v = out(reg) value, p = in(reg) self.start, at = const AT,
                options(pure, readonly, nostack));
        }
        value as u8
    }

    /// The two bytes at an offset, in memory order.
    #[inline(always)]
    pub(crate) fn half<const AT: usize>(&self) -> u16 {
        const { assert!(AT + 2 <= N) };
        let value: u64;
        // SAFETY: the bytes lie in the packet.
        unsafe {
            asm!("{v} = *(u16 *)({p} + {at})", v = out(reg) value, p = in(reg) self.start, at = const AT,
                options(pure, readonly, nostack));
        }
        value as u16
    }

    /// The four bytes at an offset, in memory order.
    #[inline(always)]
    pub(crate) fn word<const AT: usize>(&self) -> u32 {
        const { assert!(AT + 4 <= N) };
        let value: u64;
        // SAFETY: the bytes lie in the packet.
        unsafe {
            asm!("{v} = *(u32 *)({p} + {at})", v = out(reg) value, p = in(reg) self.start, at = const AT,
                options(pure, readonly, nostack));
        }
        value as u32
    }

    /// The byte at an offset that is a constant after inlining; 0 behind the end.
    #[inline(always)]
    pub(crate) fn byte_at(&self, at: usize) -> u8 {
        if at >= N {
            return 0;
        }
        let value: u64;
        // SAFETY: the byte lies in the packet.
        unsafe {
            asm!("{v} = *(u8 *)({p} + 0)", v = out(reg) value, p = in(reg) self.start + at,
                options(pure, readonly, nostack));
        }
        value as u8
    }

    /// The two bytes at an offset that is a constant after inlining, in memory order; 0 behind the end.
    #[inline(always)]
    pub(crate) fn half_at(&self, at: usize) -> u16 {
        if at + 2 > N {
            return 0;
        }
        let value: u64;
        // SAFETY: the bytes lie in the packet.
        unsafe {
            asm!("{v} = *(u16 *)({p} + 0)", v = out(reg) value, p = in(reg) self.start + at,
                options(pure, readonly, nostack));
        }
        value as u16
    }

    /// Writes four bytes at an offset, in memory order.
    #[inline(always)]
    pub(crate) fn set_word<const AT: usize>(&mut self, value: u32) {
        const { assert!(AT + 4 <= N) };
        // SAFETY: the bytes lie in the packet.
        unsafe {
            asm!("*(u32 *)({p} + {at}) = {v}", v = in(reg) u64::from(value), p = in(reg) self.start, at = const AT,
                options(nostack));
        }
    }

    /// Writes two bytes at an offset, in memory order.
    #[inline(always)]
    pub(crate) fn set_half<const AT: usize>(&mut self, value: u16) {
        const { assert!(AT + 2 <= N) };
        // SAFETY: the bytes lie in the packet.
        unsafe {
            asm!("*(u16 *)({p} + {at}) = {v}", v = in(reg) u64::from(value), p = in(reg) self.start, at = const AT,
                options(nostack));
        }
    }

    /// Writes a byte at an offset.
    #[inline(always)]
    pub(crate) fn set_byte<const AT: usize>(&mut self, value: u8) {
        const { assert!(AT < N) };
        // SAFETY: the byte lies in the packet.
        unsafe {
            asm!("*(u8 *)({p} + {at}) = {v}", v = in(reg) u64::from(value), p = in(reg) self.start, at = const AT,
                options(nostack));
        }
    }
}

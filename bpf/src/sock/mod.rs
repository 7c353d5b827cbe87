//! What a process asks of a socket, as the kernel hands it over at a hook of a cgroup: the one place with pointers into it.
#![expect(unsafe_code, reason = "the kernel's context is reached by a pointer that the verifier follows")]

mod family;
mod taken;

use core::arch::asm;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr::null_mut;

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie};
use aya_ebpf::programs::SockAddrContext;
use weft_abi::{Addr, Tuple};

use crate::config;

pub(crate) use family::{Family, V4, V6};
pub(crate) use taken::is_taken;

/// A socket, and the address that a call on it is about; what is written is what the kernel goes on with.
pub(crate) struct Sock<F> {
    ctx: *mut bpf_sock_addr,
    family: PhantomData<F>,
}

impl<F: Family> Sock<F> {
    /// What every hook answers: the call goes on. The others know no other answer, and ours refuse nothing.
    pub(crate) const GO_ON: i32 = 1;

    #[inline(always)]
    pub(crate) fn new(ctx: &SockAddrContext) -> Self {
        Self { ctx: ctx.sock_addr, family: PhantomData }
    }

    /// Whether it is in the node's network namespace: pods' processes come by here as well.
    #[inline(always)]
    pub(crate) fn is_of_node(&self) -> bool {
        let known = config::netns_cookie();
        // SAFETY: the context is the kernel's; without one the helper tells of the machine's first namespace.
        unsafe {
            let node = if known == 0 { bpf_get_netns_cookie(null_mut()) } else { known };
            bpf_get_netns_cookie(self.ctx.cast()) == node
        }
    }

    /// The kernel's number for the socket, which no other one ever has.
    #[inline(always)]
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_get_socket_cookie(self.ctx.cast()) }
    }

    /// The IP protocol.
    #[inline(always)]
    pub(crate) fn protocol(&self) -> u8 {
        self.word::<{ offset_of!(bpf_sock_addr, protocol) }>() as u8
    }

    /// The address.
    #[inline(always)]
    pub(crate) fn address(&self) -> Addr {
        F::address(self)
    }

    /// The port in network byte order.
    #[inline(always)]
    pub(crate) fn port(&self) -> u16 {
        self.word::<{ offset_of!(bpf_sock_addr, user_port) }>() as u16
    }

    /// Puts another address and port in their place.
    #[inline(always)]
    pub(crate) fn set(&mut self, addr: &Addr, port: u16) {
        F::set_address(self, addr);
        self.set_word::<{ offset_of!(bpf_sock_addr, user_port) }>(port.into());
    }

    /// Whether its packets can leave the loopback device: it has no source there, and is bound to no device at all.
    #[inline(always)]
    pub(crate) fn can_leave(&self) -> bool {
        !F::bound(self).is_loopback() && self.bound_word::<{ offset_of!(bpf_sock, bound_dev_if) }>() == 0
    }

    /// As [`is_taken`], in the socket's namespace.
    #[inline(always)]
    pub(crate) fn is_taken(&self, tuple: &Tuple) -> bool {
        // SAFETY: the context is the kernel's.
        unsafe { is_taken(self.ctx.cast(), tuple) }
    }

    /// A word of the context. LLVM would compute its address ahead and read through that, which the verifier refuses.
    #[inline(always)]
    fn word<const OFFSET: usize>(&self) -> u32 {
        let value: u64;
        // SAFETY: reads a field of the context.
        unsafe {
            asm!("{v} = *(u32 *)({c} + {o})", v = out(reg) value, c = in(reg) self.ctx, o = const OFFSET,
                options(readonly, nostack));
        }
        value as u32
    }

    #[inline(always)]
    fn set_word<const OFFSET: usize>(&mut self, value: u32) {
        // SAFETY: writes a field of the context.
        unsafe {
            asm!("*(u32 *)({c} + {o}) = {v}", v = in(reg) u64::from(value), c = in(reg) self.ctx, o = const OFFSET,
                options(nostack));
        }
    }

    /// A word of what is known of the socket itself.
    #[inline(always)]
    fn bound_word<const OFFSET: usize>(&self) -> u32 {
        let value: u64;
        // SAFETY: the context has the socket, and that has the field.
        unsafe {
            asm!("{v} = *(u64 *)({c} + {s})", "{v} = *(u32 *)({v} + {o})", v = out(reg) value, c = in(reg) self.ctx,
                s = const offset_of!(bpf_sock_addr, __bindgen_anon_1), o = const OFFSET, options(readonly, nostack));
        }
        value as u32
    }
}

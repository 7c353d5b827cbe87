//! The packet as the kernel hands it over: the one place with pointers into it.
#![expect(unsafe_code, reason = "packet bytes are reached by pointers that the verifier follows")]

use core::arch::asm;
use core::marker::PhantomData;
use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::bindings::{__sk_buff, BPF_F_RECOMPUTE_CSUM};
use aya_ebpf::helpers::{
    bpf_redirect, bpf_redirect_peer, bpf_skb_change_tail, bpf_skb_change_type, bpf_skb_load_bytes, bpf_skb_pull_data,
    bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;

use crate::parse::mld::Alert;
use crate::parse::{Arp, Ethernet, Frame, Ipv6Header, LinkOption, NeighborMessage};
use crate::rewrite::Advertisement;

/// Types that lie in a packet.
///
/// # Safety
/// No padding, and every bit pattern is a value. Only this module implements it.
pub(crate) unsafe trait Wire: Copy {}

macro_rules! wire {
    ($($ty:ty = $size:literal),+ $(,)?) => {
        $(
            const _: () = assert!(size_of::<$ty>() == $size);
            // SAFETY: integers, whose sizes add up to that of the whole.
            unsafe impl Wire for $ty {}
        )+
    };
}
wire!(
    u8 = 1,
    Ethernet = 14,
    [u32; 2] = 8,
    Ipv6Header = 40,
    Arp = 28,
    NeighborMessage = 64,
    LinkOption = 8,
    Alert = 10,
    Advertisement = 72,
);

/// A packet at a tc hook, beginning with its Ethernet header.
pub(crate) struct Skb {
    ctx: *mut __sk_buff,
}

/// The first `N` bytes of a packet; nothing can move them while this lives.
///
/// Words are read and written by instructions of our own: the kernel lets a program reach packets unaligned, LLVM
/// believes that it must go byte by byte.
pub(crate) struct Bytes<'a, const N: usize> {
    start: usize,
    skb: PhantomData<&'a mut Skb>,
}

/// Bytes before a frame in [`Frame`].
const LEAD: usize = offset_of!(Frame<()>, ethernet);

/// Bytes of a frame that ends with that body.
const fn frame_len<H>() -> u32 {
    (Ethernet::LEN + size_of::<H>()) as u32
}

/// `PACKET_HOST` of `linux/if_packet.h`.
const PACKET_HOST: u32 = 0;

impl Skb {
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        Self { ctx: ctx.skb.skb }
    }

    /// Bytes on the wire, Ethernet header included.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.field(offset_of!(__sk_buff, len))
    }

    /// The device whose hook this is.
    #[inline(always)]
    pub(crate) fn ifindex(&self) -> u32 {
        self.field(offset_of!(__sk_buff, ifindex))
    }

    /// Ethertype in host byte order, as the kernel understood the frame.
    #[inline(always)]
    pub(crate) fn ethertype(&self) -> u16 {
        u16::from_be(self.field(offset_of!(__sk_buff, protocol)) as u16)
    }

    /// Whether a VLAN tag was taken off the frame and is kept beside it.
    #[inline(always)]
    pub(crate) fn is_tagged(&self) -> bool {
        self.field(offset_of!(__sk_buff, vlan_present)) != 0
    }

    /// Whether the packet is to be segmented later, so that its length field may be 0.
    #[inline(always)]
    pub(crate) fn is_gso(&self) -> bool {
        self.field(offset_of!(__sk_buff, gso_size)) != 0
    }

    /// The packet's first `N` bytes; `None` if it is shorter.
    #[inline(always)]
    pub(crate) fn bytes<const N: usize>(&mut self) -> Option<Bytes<'_, N>> {
        let mut start = self.data();
        if start + N > self.data_end() {
            // Headers in page fragments: rare, and the only time that this costs anything.
            // SAFETY: the context is the kernel's.
            if unsafe { bpf_skb_pull_data(self.ctx, N as u32) } != 0 {
                return None;
            }
            start = self.data();
            if start + N > self.data_end() {
                return None;
            }
        }
        Some(Bytes { start, skb: PhantomData })
    }

    /// A copy of what lies `offset` bytes into the packet, linear or not.
    #[inline(always)]
    pub(crate) fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the context is the kernel's; a value that was filled whole is a `T`, whatever the bytes.
        unsafe {
            let size = size_of::<T>() as u32;
            let result = bpf_skb_load_bytes(self.ctx.cast(), offset as u32, value.as_mut_ptr().cast(), size);
            (result == 0).then(|| value.assume_init())
        }
    }

    /// A copy of the frame's begin, linear or not.
    #[inline(always)]
    pub(crate) fn load_frame<H: Wire>(&self) -> Option<Frame<H>> {
        let mut frame = MaybeUninit::<Frame<H>>::zeroed();
        // SAFETY: the context is the kernel's; the frame's bytes lie behind the lead, and all of them are filled.
        unsafe {
            let bytes = frame.as_mut_ptr().byte_add(LEAD);
            let result = bpf_skb_load_bytes(self.ctx.cast(), 0, bytes.cast(), frame_len::<H>());
            (result == 0).then(|| frame.assume_init())
        }
    }

    /// Makes the packet that frame and nothing else.
    #[inline(always)]
    pub(crate) fn replace<H: Wire>(&mut self, frame: &Frame<H>) -> Option<()> {
        let len = frame_len::<H>();
        // SAFETY: the context is the kernel's; the frame's bytes lie behind the lead.
        let result = unsafe {
            let bytes = (&raw const *frame).byte_add(LEAD);
            match bpf_skb_change_tail(self.ctx, len, 0) {
                0 => bpf_skb_store_bytes(self.ctx, 0, bytes.cast(), len, BPF_F_RECOMPUTE_CSUM.into()),
                error => error,
            }
        };
        (result == 0).then_some(())
    }

    /// Asks the kernel to put the packet into the pod behind that host interface; the hook's result.
    #[inline(always)]
    pub(crate) fn redirect_peer(&mut self, ifindex: u32) -> i32 {
        if self.field(offset_of!(__sk_buff, pkt_type)) != PACKET_HOST {
            // Linux 5.10 loses a redirected packet of any other type.
            // SAFETY: the context is the kernel's. It refuses only types that no received frame has.
            unsafe { bpf_skb_change_type(self.ctx, PACKET_HOST) };
        }
        // SAFETY: takes numbers; an interface that is gone drops the packet.
        unsafe { bpf_redirect_peer(ifindex, 0) as i32 }
    }

    /// Asks the kernel to send the packet out of the device it came from; the hook's result.
    #[inline(always)]
    pub(crate) fn send_back(&self) -> i32 {
        // SAFETY: takes numbers.
        unsafe { bpf_redirect(self.ifindex(), 0) as i32 }
    }

    #[inline(always)]
    fn data(&self) -> usize {
        let value: usize;
        // LLVM would compute the field's address ahead and load through it, which the verifier refuses.
        // SAFETY: reads a field of the context.
        unsafe {
            asm!("{v} = *(u32 *)({c} + {o})", v = out(reg) value, c = in(reg) self.ctx,
                o = const offset_of!(__sk_buff, data), options(pure, readonly, nostack));
        }
        value
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        let value: usize;
        // SAFETY: as in `data`.
        unsafe {
            asm!("{v} = *(u32 *)({c} + {o})", v = out(reg) value, c = in(reg) self.ctx,
                o = const offset_of!(__sk_buff, data_end), options(pure, readonly, nostack));
        }
        value
    }

    #[inline(always)]
    fn field(&self, offset: usize) -> u32 {
        // SAFETY: `offset` is that of a `u32` in the context.
        unsafe { self.ctx.byte_add(offset).cast::<u32>().read() }
    }
}

impl<const N: usize> Bytes<'_, N> {
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
}

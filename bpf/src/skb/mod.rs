//! The packet as the kernel hands it over: the one place with pointers into it.
#![expect(unsafe_code, reason = "packet bytes are reached by pointers that the verifier follows")]

mod bytes;
mod checksum;
mod route;
mod socket;
mod tunnel;

use core::arch::asm;
use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::bindings::{__sk_buff, BPF_F_RECOMPUTE_CSUM};
use aya_ebpf::helpers::{
    bpf_skb_change_tail, bpf_skb_ecn_set_ce, bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;

pub(crate) use bytes::Bytes;
pub(crate) use checksum::Checksum;
pub(crate) use route::Hop;

use weft_abi::{Addr, Token};

use crate::parse::mld::Alert;
use crate::parse::{Arp, Ethernet, Frame, Ipv4Header, Ipv6Header, LinkOption, NeighborMessage};
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
    u16 = 2,
    [u16; 2] = 4,
    u32 = 4,
    [u8; 6] = 6,
    [u8; 8] = 8,
    Ethernet = 14,
    [u32; 2] = 8,
    [u32; 4] = 16,
    Addr = 16,
    Ipv4Header = 20,
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

/// What `from_pod` says of a packet to the hook at the device that it leaves by (`tc_index`, which stays on the packet
/// within the node and which `from_pod` always sets: a pod could have).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u32);

impl Mark {
    /// It has been through the node's stack, or is the node's own.
    pub(crate) const STACK: Self = Self(0);
    /// Straight from a pod.
    pub(crate) const POD: Self = Self(1);
    /// Straight from a pod to another node's pod: nothing is left to be done.
    pub(crate) const DONE: Self = Self(2);
}

/// Bytes before a frame in [`Frame`].
const LEAD: usize = offset_of!(Frame<()>, ethernet);

/// Bytes of a frame that ends with that body.
const fn frame_len<H>() -> u32 {
    (Ethernet::LEN + size_of::<H>()) as u32
}

impl Skb {
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        Self { ctx: ctx.skb.skb }
    }

    /// The packet that a function of our own was called with.
    #[inline(always)]
    pub(crate) fn of(ctx: *mut __sk_buff) -> Self {
        Self { ctx }
    }

    /// Calls a function that is verified by itself; what is known of the packet's bytes is forgotten.
    #[inline(always)]
    pub(crate) fn call<T>(&mut self, function: extern "C" fn(*mut __sk_buff) -> T) -> T {
        function(self.ctx)
    }

    /// The same for a function that is told three numbers and answers nothing.
    #[inline(always)]
    pub(crate) fn tell(&mut self, function: extern "C" fn(*mut __sk_buff, u32, u32, u32) -> u32, [a, b, c]: [u32; 3]) {
        function(self.ctx, a, b, c);
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

    /// Bytes of payload in each packet that this one is to be segmented into later; 0 if it is not.
    #[inline(always)]
    pub(crate) fn gso_size(&self) -> u32 {
        self.field(offset_of!(__sk_buff, gso_size))
    }

    /// Packets that this one is to be segmented into later; 0 if it is not, or if nobody has counted.
    #[inline(always)]
    pub(crate) fn gso_segs(&self) -> u32 {
        self.field(offset_of!(__sk_buff, gso_segs))
    }

    /// Whether the packet is to be segmented later, so that its length field may be 0.
    #[inline(always)]
    pub(crate) fn is_gso(&self) -> bool {
        self.gso_size() != 0
    }

    /// The device by which the packet came to the node; 0 if the node itself made it.
    #[inline(always)]
    pub(crate) fn ingress_ifindex(&self) -> u32 {
        self.field(offset_of!(__sk_buff, ingress_ifindex))
    }

    /// What our hook before this one left on the packet.
    #[inline(always)]
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.field(offset_of!(__sk_buff, tc_index)))
    }

    /// Leaves word for our hook behind this one.
    #[inline(always)]
    pub(crate) fn set_mark(&mut self, mark: Mark) {
        self.set_field(offset_of!(__sk_buff, tc_index), mark.0);
    }

    /// What the packet carries if it is on its way through the shaper.
    #[inline(always)]
    pub(crate) fn token(&self) -> Option<Token> {
        Token::of(self.field(offset_of!(__sk_buff, mark)))
    }

    /// Gives the packet a token, or takes it.
    #[inline(always)]
    pub(crate) fn set_token(&mut self, token: Option<Token>) {
        self.set_field(offset_of!(__sk_buff, mark), token.map_or(0, Token::mark));
    }

    /// Names the class in which the packet waits.
    #[inline(always)]
    pub(crate) fn set_class(&mut self, handle: u32) {
        self.set_field(offset_of!(__sk_buff, priority), handle);
    }

    /// Says when the packet may leave, in nanoseconds of the monotonic clock; 0 for nothing.
    #[inline(always)]
    pub(crate) fn set_departure(&mut self, at_ns: u64) {
        // Not by the helper, which older kernels do not have.
        // SAFETY: the field is a writable `u64` of the context.
        unsafe { self.ctx.byte_add(offset_of!(__sk_buff, tstamp)).cast::<u64>().write(at_ns) }
    }

    /// Marks the packet as one that met congestion (RFC 3168); false if its sender does not understand that.
    #[inline(always)]
    pub(crate) fn mark_congestion(&mut self) -> bool {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_skb_ecn_set_ce(self.ctx) == 1 }
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
        Some(Bytes::at(start))
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

    /// Copies what lies `offset` bytes into the packet; zeros, and false, if it is too short.
    #[inline(always)]
    pub(crate) fn fill<T: Wire>(&self, offset: usize, value: &mut T) -> bool {
        // SAFETY: the context is the kernel's; it writes as many bytes as the value has, and any are a value.
        unsafe {
            bpf_skb_load_bytes(self.ctx.cast(), offset as u32, (&raw mut *value).cast(), size_of::<T>() as u32) == 0
        }
    }

    /// Copies the packet's first `len` bytes, linear or not; false if they do not fit.
    #[inline(always)]
    pub(crate) fn copy<const N: usize>(&self, len: u32, to: &mut [u8; N]) -> bool {
        let mut last = u64::from(len).wrapping_sub(1);
        // LLVM would compare another value than the one that is handed over, and kernels before 6.8 learn nothing from
        // a comparison with zero: they are shown a bound of one less and an addition.
        // SAFETY: nothing happens.
        unsafe { asm!("{last} = {last}", last = inout(reg) last, options(pure, nomem, nostack)) };
        if last >= N as u64 {
            return false;
        }
        let mut size = last;
        // SAFETY: nothing but an addition happens.
        unsafe { asm!("{size} += 1", size = inout(reg) size, options(pure, nomem, nostack)) };
        // SAFETY: the context is the kernel's; it writes no more bytes than there is room for.
        unsafe { bpf_skb_load_bytes(self.ctx.cast(), 0, to.as_mut_ptr().cast(), size as u32) == 0 }
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

    /// The destination address, read from the packet once more.
    #[inline(always)]
    pub(crate) fn destination(&self, v4: bool) -> Option<Addr> {
        if v4 {
            self.load(Ethernet::LEN + 16).map(Addr::from_v4_word)
        } else {
            self.load(Ethernet::LEN + 24).map(Addr::from_v6_words)
        }
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
    fn set_field(&mut self, offset: usize, value: u32) {
        // SAFETY: `offset` is that of a writable `u32` in the context.
        unsafe { self.ctx.byte_add(offset).cast::<u32>().write(value) }
    }

    #[inline(always)]
    fn field(&self, offset: usize) -> u32 {
        // SAFETY: `offset` is that of a `u32` in the context.
        unsafe { self.ctx.byte_add(offset).cast::<u32>().read() }
    }
}

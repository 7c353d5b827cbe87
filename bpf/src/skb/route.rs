//! Where a packet goes: into a pod, back, or on by the node's routes.

use core::mem::offset_of;

use aya_ebpf::bindings::{
    __sk_buff, BPF_F_INGRESS, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibLookup,
    bpf_redir_neigh,
};
use aya_ebpf::helpers::{bpf_fib_lookup, bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer, bpf_skb_change_type};
use weft_abi::Addr;

use super::Skb;
use crate::parse::Packet;

/// `PACKET_HOST` of `linux/if_packet.h`.
const PACKET_HOST: u32 = 0;

/// Address families of `linux/socket.h`.
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// A question to the node's routes, and their answer: `struct bpf_fib_lookup`.
#[repr(C)]
struct Question {
    family: u8,
    protocol: u8,
    ports: [u16; 2],
    /// Bytes of the packet from its IP header on.
    len: u16,
    /// Before: the device that the packet came by; after: the one that it leaves by.
    ifindex: u32,
    /// TOS or flow label.
    class: u32,
    src: [u32; 4],
    /// Before: the destination; after: the next hop.
    dst: [u32; 4],
    tail: [u32; 4],
}

const _: () = assert!(size_of::<Question>() == size_of::<FibLookup>() && offset_of!(Question, ifindex) == 8);

/// The next hop, for `bpf_redirect_neigh`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Neighbor {
    family: u32,
    addr: [u32; 4],
}

const _: () = assert!(size_of::<Neighbor>() == size_of::<bpf_redir_neigh>());

impl Question {
    #[expect(clippy::cast_possible_wrap, reason = "64 bytes")]
    const SIZE: i32 = size_of::<Self>() as i32;
}

impl Neighbor {
    #[expect(clippy::cast_possible_wrap, reason = "20 bytes")]
    const SIZE: i32 = size_of::<Self>() as i32;
}

/// A way that the node's routes know.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Hop {
    /// The device that leads there.
    pub(crate) ifindex: u32,
    neighbor: Neighbor,
}

impl Skb {
    /// Makes the packet one for this node, whatever the destination of its frame.
    #[inline(always)]
    pub(crate) fn make_ours(&mut self) {
        if self.field(offset_of!(__sk_buff, pkt_type)) != PACKET_HOST {
            // SAFETY: the context is the kernel's. It refuses only types that no received frame has.
            unsafe { bpf_skb_change_type(self.ctx, PACKET_HOST) };
        }
    }

    /// Asks the kernel to put the packet into the pod behind that host interface; the hook's result.
    #[inline(always)]
    pub(crate) fn redirect_peer(&mut self, ifindex: u32) -> i32 {
        // Linux 5.10 loses a redirected packet of any other type.
        self.make_ours();
        // SAFETY: takes numbers; an interface that is gone drops the packet.
        unsafe { bpf_redirect_peer(ifindex, 0) as i32 }
    }

    /// Asks the kernel to send the packet out of the device it came from; the hook's result.
    #[inline(always)]
    pub(crate) fn send_back(&self) -> i32 {
        Self::send_by(self.ifindex())
    }

    /// Asks the kernel to send the packet out of that device as it is; the hook's result.
    #[inline(always)]
    pub(crate) fn send_by(ifindex: u32) -> i32 {
        // SAFETY: takes numbers; a device that is gone drops the packet.
        unsafe { bpf_redirect(ifindex, 0) as i32 }
    }

    /// Asks the kernel to take the packet as one that came by that device; the hook's result.
    #[inline(always)]
    pub(crate) fn receive_by(ifindex: u32) -> i32 {
        // SAFETY: takes numbers; a device that is gone drops the packet.
        unsafe { bpf_redirect(ifindex, BPF_F_INGRESS.into()) as i32 }
    }

    /// The way that the node's routes know for the packet as one from `src`, `len` bytes from its IP header on; `None` if the stack has
    /// to see to it: the destination is the node itself or cannot be reached, or the packet is too large for the way.
    #[inline(always)]
    pub(crate) fn route(&self, packet: &Packet, src: &Addr, len: u32) -> Option<Hop> {
        let v4 = packet.src.is_v4();
        let spread = |addr: &Addr| if v4 { [addr.words[3], 0, 0, 0] } else { addr.words };
        let mut question = Question {
            family: if v4 { AF_INET } else { AF_INET6 } as u8,
            protocol: packet.protocol,
            ports: [0; 2],
            len: len as u16,
            ifindex: self.ifindex(),
            class: 0,
            src: spread(src),
            dst: spread(&packet.dst),
            tail: [0; 4],
        };
        // SAFETY: the context is the kernel's; the structure is its own by size and layout.
        let answer =
            unsafe { bpf_fib_lookup(self.ctx.cast(), (&raw mut question).cast(), Question::SIZE, 0).cast_unsigned() };
        if answer != BPF_FIB_LKUP_RET_SUCCESS.into() && answer != BPF_FIB_LKUP_RET_NO_NEIGH.into() {
            return None;
        }
        let neighbor = Neighbor { family: u32::from(question.family), addr: question.dst };
        Some(Hop { ifindex: question.ifindex, neighbor })
    }

    /// Asks the kernel to send the packet to that next hop, whose link-layer address it finds out; the hook's result.
    #[inline(always)]
    pub(crate) fn send_to(hop: &Hop) -> i32 {
        // SAFETY: the structure is the kernel's by size and layout; it is read before the call returns.
        unsafe {
            bpf_redirect_neigh(hop.ifindex, (&raw const hop.neighbor).cast_mut().cast(), Neighbor::SIZE, 0) as i32
        }
    }
}

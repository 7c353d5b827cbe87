//! The far end of a tunnel, which travels beside the packet.

use core::mem::offset_of;

use aya_ebpf::bindings::{BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX, bpf_tunnel_key};
use aya_ebpf::helpers::{bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key};
use weft_abi::Addr;

use super::Skb;

/// `struct bpf_tunnel_key` as every kernel since 4.9 takes it: without the local address.
#[repr(C)]
#[derive(Default)]
struct Key {
    vni: u32,
    /// IPv4 in host byte order in the first word; IPv6 as it lies in memory.
    remote: [u32; 4],
    tos: u8,
    ttl: u8,
    ext: u16,
    label: u32,
}

const SIZE: u32 = size_of::<Key>() as u32;
const _: () = assert!(SIZE as usize == offset_of!(bpf_tunnel_key, __bindgen_anon_3));

impl Skb {
    /// Where a packet at the overlay device comes from: the other node, and the number of the virtual network.
    #[inline(always)]
    pub(crate) fn tunnel(&self) -> Option<(Addr, u32)> {
        let mut key = Key::default();
        if self.get_key(&mut key, 0) {
            return Some((Addr::from_v4_word(key.remote[0].to_be()), key.vni));
        }
        self.get_key(&mut key, BPF_F_TUNINFO_IPV6).then_some((Addr::from_v6_words(key.remote), key.vni))
    }

    #[inline(always)]
    fn get_key(&self, key: &mut Key, flags: u32) -> bool {
        // SAFETY: the context is the kernel's; it fills as many bytes as it is told to.
        unsafe { bpf_skb_get_tunnel_key(self.ctx, (&raw mut *key).cast(), SIZE, flags.into()) == 0 }
    }

    /// Says where the overlay device is to send the packet.
    ///
    /// Over IPv4 without a UDP checksum, as the kernel's own VXLAN devices do: the inner packet has one.
    #[inline(always)]
    pub(crate) fn set_tunnel(&mut self, node: &Addr, vni: u32) -> bool {
        let (remote, flags) = if node.is_v4() {
            ([u32::from_be(node.words[3]), 0, 0, 0], BPF_F_ZERO_CSUM_TX)
        } else {
            (node.words, BPF_F_TUNINFO_IPV6)
        };
        let mut key = Key { vni, remote, ..Key::default() };
        // SAFETY: the context is the kernel's; it reads as many bytes as it is told to.
        unsafe { bpf_skb_set_tunnel_key(self.ctx, (&raw mut key).cast(), SIZE, flags.into()) == 0 }
    }
}

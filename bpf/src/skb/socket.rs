//! Sockets of the node's own.

use aya_ebpf::bindings::BPF_F_CURRENT_NETNS;
use aya_ebpf::helpers::{bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release};
use weft_abi::Tuple;

use super::Skb;
use crate::parse::Protocol;

/// `struct bpf_sock_tuple` for IPv4: remote and local address, then the ports.
#[repr(C)]
struct V4 {
    addrs: [u32; 2],
    ports: [u16; 2],
}

/// The same for IPv6.
#[repr(C)]
struct V6 {
    addrs: [[u32; 4]; 2],
    ports: [u16; 2],
}

const _: () = assert!(size_of::<V4>() == 12 && size_of::<V6>() == 36);

impl Skb {
    /// Whether a socket of the node would receive what the outside of that tuple sends: a connection, or a port that
    /// is listened on.
    #[inline(always)]
    pub(crate) fn is_taken(&self, tuple: &Tuple) -> bool {
        let ports = [tuple.outside_port, tuple.inside_port];
        if tuple.inside.is_v4() {
            let key = V4 { addrs: [tuple.outside.words[3], tuple.inside.words[3]], ports };
            self.finds_socket(tuple.protocol, &key)
        } else {
            let key = V6 { addrs: [tuple.outside.words, tuple.inside.words], ports };
            self.finds_socket(tuple.protocol, &key)
        }
    }

    #[inline(always)]
    fn finds_socket<K>(&self, protocol: u8, key: &K) -> bool {
        let (key, size) = ((&raw const *key).cast_mut().cast(), size_of::<K>() as u32);
        let netns = i64::from(BPF_F_CURRENT_NETNS).cast_unsigned();
        // SAFETY: the context is the kernel's; the key is of the size that says its family; the socket that is found
        // is given back at once.
        unsafe {
            let socket = match protocol {
                Protocol::TCP => bpf_sk_lookup_tcp(self.ctx.cast(), key, size, netns, 0),
                Protocol::UDP => bpf_sk_lookup_udp(self.ctx.cast(), key, size, netns, 0),
                _ => return false,
            };
            if socket.is_null() {
                return false;
            }
            bpf_sk_release(socket.cast());
        }
        true
    }
}

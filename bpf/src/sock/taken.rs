//! Sockets of the node's own.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_F_CURRENT_NETNS;
use aya_ebpf::helpers::{bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release};
use weft_abi::Tuple;

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

/// Whether a socket of the context's namespace would receive what the outside of that tuple sends: a connection, or a
/// port that is listened on.
///
/// # Safety
/// The context is the one that the program was called with.
#[inline(always)]
pub(crate) unsafe fn is_taken(ctx: *mut c_void, tuple: &Tuple) -> bool {
    let ports = [tuple.outside_port, tuple.inside_port];
    // SAFETY: as promised; the keys are the kernel's.
    unsafe {
        if tuple.inside.is_v4() {
            let key = V4 { addrs: [tuple.outside.words[3], tuple.inside.words[3]], ports };
            finds(ctx, tuple.protocol, &key)
        } else {
            let key = V6 { addrs: [tuple.outside.words, tuple.inside.words], ports };
            finds(ctx, tuple.protocol, &key)
        }
    }
}

/// # Safety
/// As above, with a key of one family.
#[inline(always)]
unsafe fn finds<K>(ctx: *mut c_void, protocol: u8, key: &K) -> bool {
    let (key, size) = ((&raw const *key).cast_mut().cast(), size_of::<K>() as u32);
    let netns = i64::from(BPF_F_CURRENT_NETNS).cast_unsigned();
    // SAFETY: the context is the kernel's; the key is of the size that says its family; the socket that is found
    // is given back at once.
    unsafe {
        let socket = match protocol {
            Protocol::TCP => bpf_sk_lookup_tcp(ctx, key, size, netns, 0),
            Protocol::UDP => bpf_sk_lookup_udp(ctx, key, size, netns, 0),
            _ => return false,
        };
        if socket.is_null() {
            return false;
        }
        bpf_sk_release(socket.cast());
    }
    true
}

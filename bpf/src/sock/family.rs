//! Where a family's addresses are in the kernel's context.

use core::mem::offset_of;

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use weft_abi::Addr;

use super::Sock;

/// The family of the call, which need not be the socket's.
pub(crate) trait Family: Sized {
    /// The address that the call is about.
    fn address(sock: &Sock<Self>) -> Addr;
    /// Puts another one in its place.
    fn set_address(sock: &mut Sock<Self>, addr: &Addr);
    /// What the socket is bound to.
    fn bound(sock: &Sock<Self>) -> Addr;
}

/// Calls about IPv4 addresses; datagrams of dual-stack sockets are among them.
pub(crate) struct V4;

/// Calls about IPv6 addresses, with the IPv4 addresses of dual-stack sockets mapped into them.
pub(crate) struct V6;

const TO: usize = offset_of!(bpf_sock_addr, user_ip6);
const FROM: usize = offset_of!(bpf_sock, src_ip6);

impl Family for V4 {
    #[inline(always)]
    fn address(sock: &Sock<Self>) -> Addr {
        Addr::from_v4_word(sock.word::<{ offset_of!(bpf_sock_addr, user_ip4) }>())
    }

    #[inline(always)]
    fn set_address(sock: &mut Sock<Self>, addr: &Addr) {
        sock.set_word::<{ offset_of!(bpf_sock_addr, user_ip4) }>(addr.words[3]);
    }

    #[inline(always)]
    fn bound(sock: &Sock<Self>) -> Addr {
        Addr::from_v4_word(sock.bound_word::<{ offset_of!(bpf_sock, src_ip4) }>())
    }
}

impl Family for V6 {
    #[inline(always)]
    fn address(sock: &Sock<Self>) -> Addr {
        let words =
            [sock.word::<TO>(), sock.word::<{ TO + 4 }>(), sock.word::<{ TO + 8 }>(), sock.word::<{ TO + 12 }>()];
        Addr::from_v6_words(words)
    }

    #[inline(always)]
    fn set_address(sock: &mut Sock<Self>, addr: &Addr) {
        let [a, b, c, d] = addr.words;
        sock.set_word::<TO>(a);
        sock.set_word::<{ TO + 4 }>(b);
        sock.set_word::<{ TO + 8 }>(c);
        sock.set_word::<{ TO + 12 }>(d);
    }

    #[inline(always)]
    fn bound(sock: &Sock<Self>) -> Addr {
        let words = [
            sock.bound_word::<FROM>(),
            sock.bound_word::<{ FROM + 4 }>(),
            sock.bound_word::<{ FROM + 8 }>(),
            sock.bound_word::<{ FROM + 12 }>(),
        ];
        Addr::from_v6_words(words)
    }
}

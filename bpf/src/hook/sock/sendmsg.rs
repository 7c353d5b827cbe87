//! sendto(2) and its like with an address: sockets of datagrams that are not connected.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use crate::sock::{Sock, V4, V6};
use crate::stage::socket;

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    socket::give(&mut Sock::<V4>::new(&ctx));
    Sock::<V4>::GO_ON
}

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    socket::give(&mut Sock::<V6>::new(&ctx));
    Sock::<V6>::GO_ON
}

//! recvfrom(2) and its like: whom a datagram came from.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use crate::sock::{Sock, V4, V6};
use crate::stage::socket;

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[cgroup_sock_addr(recvmsg4)]
fn recvmsg4(ctx: SockAddrContext) -> i32 {
    socket::show(&mut Sock::<V4>::new(&ctx));
    Sock::<V4>::GO_ON
}

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[cgroup_sock_addr(recvmsg6)]
fn recvmsg6(ctx: SockAddrContext) -> i32 {
    socket::show(&mut Sock::<V6>::new(&ctx));
    Sock::<V6>::GO_ON
}

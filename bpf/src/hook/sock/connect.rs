//! connect(2).

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use crate::sock::{Sock, V4, V6};
use crate::stage::socket;

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    socket::give(&mut Sock::<V4>::new(&ctx));
    Sock::<V4>::GO_ON
}

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    socket::give(&mut Sock::<V6>::new(&ctx));
    Sock::<V6>::GO_ON
}

//! tc ingress of the loopback device: what the node sends to itself, where its sockets cannot be asked.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::verdict::NEXT;

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn from_loopback(_ctx: TcContext) -> i32 {
    NEXT
}

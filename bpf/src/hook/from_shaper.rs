//! tc ingress of the shaper's far end: packets of limited pods whose turn has come.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::verdict::NEXT;

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn from_shaper(_ctx: TcContext) -> i32 {
    NEXT
}

//! tc egress of the shaper's entrance: packets of limited pods on their way into the queue.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::Hook;

use crate::skb::Skb;
use crate::stage::shape;
use crate::verdict::{NEXT, conclude_as};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn to_shaper(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    let Some(token) = skb.token() else { return NEXT };
    let bytes = skb.len();
    match shape::wait(&mut skb, token) {
        // Counted where it was sent here, and again when it is out.
        Ok(action) => action,
        Err(reason) => conclude_as(&mut skb, Hook::ToShaper, token.direction(), bytes, Err(reason)),
    }
}

//! tc egress of the overlay device: what the node's stack sends to other nodes' pods.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Hook, Reason};

use crate::maps;
use crate::parse::{self, Ethertype};
use crate::skb::{Mark, Skb};
use crate::stage::track;
use crate::verdict::{NEXT, Verdict, conclude};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn to_overlay(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    if skb.mark() == Mark::DONE {
        return NEXT;
    }
    let bytes = skb.len();
    let decision = judge(&mut skb);
    conclude(&mut skb, Hook::ToOverlay, bytes, decision)
}

#[inline(always)]
fn judge(skb: &mut Skb) -> Result<Verdict, Reason> {
    let packet = parse::ip(skb).unwrap_or_else(|| Err(Ethertype::strange(skb.ethertype())))?;
    if maps::pod(&packet.src).is_none() {
        return Ok(Verdict::Sent(Reason::Host, NEXT));
    }
    // A pod's packet that the stack has forwarded: the answers go the same way.
    track::note(skb, &packet, true);
    Ok(Verdict::Pass)
}

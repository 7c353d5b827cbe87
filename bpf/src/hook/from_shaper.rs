//! tc ingress of both ends of the shaper: at the far end packets of limited pods whose turn has come, at the entrance
//! those that were sent back to be cut.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Direction, Hook, Pod, Reason, Token};

use crate::maps;
use crate::parse::Ethernet;
use crate::rewrite;
use crate::skb::Skb;
use crate::stage::shape;
use crate::verdict::{NEXT, Verdict, conclude_as};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn from_shaper(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    // Whoever else sends by these devices has nothing to do with pods.
    let (Some(token), Some(shaper)) = (skb.token(), maps::shaper()) else { return NEXT };
    if skb.ifindex() == shaper.entrance {
        skb.set_token(Some(token.cut()));
        return Skb::send_by(shaper.entrance);
    }
    if shaper.departs {
        // It would be taken for the time at which the packet came.
        skb.set_departure(0);
    }
    let bytes = skb.len();
    let decision = match (shape::go_on(&mut skb, token), token.direction()) {
        // It is judged now, and counted then.
        (Ok(pod), Direction::Egress) => return Skb::receive_by(pod.ifindex),
        (Ok(pod), Direction::Ingress) => deliver(&mut skb, pod),
        (Err(reason), _) => Err(reason),
    };
    conclude_as(&mut skb, Hook::FromShaper, Token::direction(token), bytes, decision)
}

#[inline(always)]
fn deliver(skb: &mut Skb, pod: &Pod) -> Result<Verdict, Reason> {
    skb.set_token(None);
    rewrite::towards(pod, &mut skb.bytes::<{ Ethernet::LEN }>().ok_or(Reason::Malformed)?);
    Ok(Verdict::Deliver(pod.ifindex))
}

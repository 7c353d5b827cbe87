//! tc ingress of an uplink: what comes from other machines.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Hook, Reason};

use crate::parse;
use crate::skb::{Mark, Skb};
use crate::stage::{deliver, inbound, reverse, tunnelled};
use crate::verdict::{NEXT, Verdict, conclude};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn from_netdev(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    let bytes = skb.len();
    // Between nodes on one machine the packet still has what the other node's from_pod said of it.
    skb.set_mark(Mark::STACK);
    let decision = judge(&mut skb);
    conclude(&mut skb, Hook::FromNetdev, bytes, decision)
}

#[inline(always)]
fn judge(skb: &mut Skb) -> Result<Verdict, Reason> {
    let host = Ok(Verdict::Sent(Reason::Host, NEXT));
    if skb.is_tagged() {
        // For the VLAN's device, which has a hook of its own.
        return host;
    }
    let packet = match parse::ip(skb) {
        // The node's stack judges what is sent to it.
        None | Some(Err(Reason::Malformed)) => return host,
        Some(parsed) => parsed?,
    };
    if tunnelled::is_outer(skb, &packet) {
        return host;
    }
    match deliver::receiver(&packet) {
        Some(pod) => inbound::judge(skb, &packet, pod),
        None if packet.multicast => host,
        None => reverse::judge(skb, &packet),
    }
}

//! tc egress of an uplink: what goes to other machines.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Hook, PodFlags, Reason};

use crate::maps;
use crate::parse;
use crate::skb::{Mark, Skb};
use crate::stage::{host, masquerade, tunnelled};
use crate::verdict::{NEXT, Verdict, conclude};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn to_netdev(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    if skb.mark() == Mark::DONE {
        return NEXT;
    }
    let bytes = skb.len();
    let decision = judge(&mut skb);
    conclude(&mut skb, Hook::ToNetdev, bytes, decision)
}

#[inline(always)]
fn judge(skb: &mut Skb) -> Result<Verdict, Reason> {
    let host = Ok(Verdict::Sent(Reason::Host, NEXT));
    if skb.is_tagged() {
        return host;
    }
    // What the node's stack makes is the stack's to answer for.
    let Some(Ok(packet)) = parse::ip(skb) else { return host };
    let via_stack = skb.mark() == Mark::STACK;
    if packet.multicast || via_stack && tunnelled::is_outer(skb, &packet) {
        return host;
    }
    // What another plugin made is that plugin's to translate.
    if via_stack && maps::pod(&packet.src).is_none_or(|pod| pod.flags & PodFlags::ADOPTED != 0) {
        return Verdict::of(host::judge(skb, &packet));
    }
    masquerade::judge(skb, &packet, via_stack)
}

//! tc egress of an uplink: what goes to other machines.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Hook, PodFlags, Reason};

use crate::maps;
use crate::parse;
use crate::skb::{Mark, Skb};
use crate::stage::{answer, host, masquerade, tunnelled};
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
    let sender = if via_stack { maps::pod(&packet.src) } else { None };
    match sender {
        None if via_stack => Verdict::of(host::judge(skb, &packet)),
        // What another plugin made is that plugin's to translate.
        Some(pod) if pod.flags & PodFlags::ADOPTED != 0 => Verdict::of(if pod.flags & PodFlags::PORTS == 0 {
            host::judge(skb, &packet)
        } else {
            answer::late(skb, &packet)
        }),
        _ => masquerade::judge(skb, &packet, via_stack),
    }
}

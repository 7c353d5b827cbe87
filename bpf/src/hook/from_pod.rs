//! tc ingress of a pod's host veth: what the pod sends.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Hook, PodFlags, Reason};

use crate::maps;
use crate::parse::{self, Ethertype, ndp};
use crate::skb::{Mark, Skb};
use crate::stage::{answer, arp, deliver, multicast, nameless, neighbor, onward, reverse, shape, source};
use crate::verdict::{Verdict, conclude};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn from_pod(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    let bytes = skb.len();
    skb.set_mark(Mark::STACK);
    let decision = judge(&mut skb);
    conclude(&mut skb, Hook::FromPod, bytes, decision)
}

#[inline(always)]
fn judge(skb: &mut Skb) -> Result<Verdict, Reason> {
    if skb.is_tagged() {
        return Err(Reason::VlanTag);
    }
    // Not by `parse::ip`: what is asked of ICMPv6 alone costs IPv4 nothing here, on the way that most packets take.
    let packet = match skb.ethertype() {
        Ethertype::IPV4 => parse::ipv4(skb)?,
        Ethertype::IPV6 => {
            let packet = parse::ipv6(skb)?;
            if packet.is_icmpv6()
                && let Some(kind) = ndp::kind(skb)?
            {
                return Verdict::of(neighbor::judge(skb, kind));
            }
            packet
        }
        Ethertype::ARP => return Verdict::of(arp::judge(skb)),
        other => return Err(Ethertype::strange(other)),
    };
    let Some(sender) = source::owner(&packet.src, skb.ifindex()) else {
        return Verdict::of(nameless::judge(skb, &packet));
    };
    source::check(&packet, sender)?;
    multicast::check(&packet, sender)?;
    if let Some(queued) = shape::from_pod(skb, sender) {
        return Ok(queued);
    }
    if packet.multicast {
        return Ok(Verdict::Pass);
    }
    if let Some(decision) = answer::judge(skb, &packet, sender) {
        return decision;
    }
    if let Some(pod) = deliver::receiver(&packet) {
        return deliver::deliver(skb, pod);
    }
    // Beyond the node another plugin's pod takes that plugin's ways.
    let adopted = sender.flags & PodFlags::ADOPTED != 0;
    match if adopted { Ok(Verdict::Pass) } else { onward::judge(skb, &packet) } {
        Ok(Verdict::Pass) if maps::has_ports() => reverse::local(skb, &packet),
        decision => decision,
    }
}

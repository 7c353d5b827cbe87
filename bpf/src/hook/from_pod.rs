//! tc ingress of a pod's host veth: what the pod sends.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Hook, PodFlags, Reason};

use crate::parse::{self, Ethertype, ndp};
use crate::skb::{Mark, Skb};
use crate::stage::{arp, deliver, multicast, nameless, neighbor, onward, shape, source, track};
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
    if packet.multicast || track::is_via_stack(skb, &packet, sender, true) {
        return Ok(Verdict::Pass);
    }
    match deliver::receiver(&packet) {
        Some(pod) => deliver::deliver(skb, pod),
        // Beyond the node another plugin's pod takes that plugin's ways.
        None if sender.flags & PodFlags::ADOPTED != 0 => Ok(Verdict::Pass),
        None => onward::judge(skb, &packet),
    }
}

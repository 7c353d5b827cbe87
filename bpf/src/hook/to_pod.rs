//! tc egress of a pod's host veth: what the node's stack sends to the pod, our own answers among it.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Hook, Reason};

use crate::maps;
use crate::parse::{self, Ethertype, mld, ndp};
use crate::skb::Skb;
use crate::stage::{destination, shape, track};
use crate::verdict::{Verdict, conclude};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn to_pod(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    let bytes = skb.len();
    // An adopted pod may be sent anything: its bridge floods.
    let decision = judge(&mut skb).or_else(|reason| maps::adopted(skb.ifindex()).map(|_| Verdict::Pass).ok_or(reason));
    conclude(&mut skb, Hook::ToPod, bytes, decision)
}

#[inline(always)]
fn judge(skb: &mut Skb) -> Result<Verdict, Reason> {
    if skb.is_tagged() {
        return Err(Reason::VlanTag);
    }
    let packet = match (parse::ip(skb), skb.ethertype()) {
        (Some(parsed), _) => parsed?,
        (None, Ethertype::ARP) => return Ok(Verdict::Pass),
        (None, other) => return Err(Ethertype::strange(other)),
    };
    if packet.is_icmpv6() && ndp::kind(skb)?.is_some() {
        return Ok(Verdict::Pass);
    }
    // The node's own stack reports its groups on every link that comes up.
    if !packet.v4 && packet.multicast && mld::is_report(skb) {
        return Ok(Verdict::Pass);
    }
    let pod = destination::check(&packet, skb.ifindex())?;
    if skb.ingress_ifindex() != 0 {
        // Forwarded, and perhaps translated, for somebody else: the answers go the same way.
        track::note(skb, &packet, false);
    }
    Ok(shape::to_pod(skb, pod).unwrap_or(Verdict::Pass))
}

//! tc ingress of a pod's host veth: what the pod sends.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Direction, Reason};

use crate::parse::{self, Ethertype, ndp};
use crate::skb::Skb;
use crate::stage::{arp, deliver, multicast, nameless, neighbor, source};
use crate::verdict::{Verdict, conclude};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn from_pod(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    let bytes = skb.len();
    let decision = judge(&mut skb);
    conclude(&mut skb, Direction::Egress, bytes, decision)
}

#[inline(always)]
fn judge(skb: &mut Skb) -> Result<Verdict, Reason> {
    if skb.is_tagged() {
        return Err(Reason::VlanTag);
    }
    let packet = match skb.ethertype() {
        Ethertype::IPV4 => parse::ipv4(skb)?,
        Ethertype::IPV6 => {
            let packet = parse::ipv6(skb)?;
            if packet.icmpv6
                && let Some(kind) = ndp::kind(skb)?
            {
                return Verdict::of(neighbor::judge(skb, kind));
            }
            packet
        }
        Ethertype::ARP => return Verdict::of(arp::judge(skb)),
        Ethertype::VLAN | Ethertype::SERVICE_VLAN => return Err(Reason::VlanTag),
        _ => return Err(Reason::EtherType),
    };
    let Some(sender) = source::owner(&packet.src, skb.ifindex()) else {
        return Verdict::of(nameless::judge(skb, &packet));
    };
    source::check(&packet, sender)?;
    multicast::check(&packet, sender)?;
    deliver::judge(skb, &packet)
}

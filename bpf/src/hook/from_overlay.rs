//! tc ingress of the overlay device: what other nodes' pods send.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Hook, PeerFlags, Reason};

use crate::maps;
use crate::parse::{self, Ethertype};
use crate::skb::{Mark, Skb};
use crate::stage::{deliver, track, tunnelled};
use crate::verdict::{Verdict, conclude};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn from_overlay(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    let bytes = skb.len();
    // Between nodes on one machine the packet still has what the other node's from_pod said of it.
    skb.set_mark(Mark::STACK);
    let decision = judge(&mut skb);
    conclude(&mut skb, Hook::FromOverlay, bytes, decision)
}

#[inline(always)]
fn judge(skb: &mut Skb) -> Result<Verdict, Reason> {
    if skb.is_tagged() {
        return Err(Reason::VlanTag);
    }
    let packet = parse::ip(skb).unwrap_or_else(|| Err(Ethertype::strange(skb.ethertype())))?;
    tunnelled::check(skb, &packet)?;
    if packet.multicast {
        return Err(Reason::Multicast);
    }
    // Its frame is addressed to no device of this node: the overlay has no link-layer addresses.
    skb.make_ours();
    if let Some(pod) = deliver::receiver(&packet) {
        if track::is_via_stack(skb, &packet, pod) {
            return Ok(Verdict::Pass);
        }
        return deliver::deliver(skb, pod);
    }
    match maps::peer(&packet.dst) {
        // The node's own address in its range, or a pod that is gone, for which the stack has an answer.
        Some(peer) if peer.flags & PeerFlags::LOCAL != 0 => Ok(Verdict::Pass),
        _ => Err(Reason::NoSuchPod),
    }
}

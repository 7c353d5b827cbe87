//! What a pod answers: by the port of the node that it was asked by, or by the node's stack that has carried the flow.

use weft_abi::{FlowFlags, Pod, PodFlags, Reason, Tuple};

use super::{about, age, deliver, fragment, onward, transport};
use crate::maps::{self, Leg, Opening};
use crate::parse::{self, Kind, Packet, Protocol, Transport};
use crate::rewrite::{self, End};
use crate::skb::{Mark, Skb};
use crate::verdict::Verdict;

/// Interface index of the loopback device, in every namespace (`LOOPBACK_IFINDEX` of `net/flow.h`).
const LOOPBACK: u32 = 1;

/// Where an answer goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// No way past the stack is known.
    Stack = 0,
    /// Into another pod of this node.
    Pod = 1,
    /// Back into the pod that asked itself; [`Leg::own`] says how.
    Own = 2,
    /// To another machine; [`Leg::hop`] says how.
    Hop = 3,
    /// Through the overlay.
    Tunnel = 4,
    /// To the node itself, which asked by way of its loopback device.
    Node = 5,
}

/// The decision on a packet of a flow that began at a port of the node, or that the stack has carried; `None` if the
/// packet is of neither.
#[inline(always)]
pub(crate) fn judge(skb: &mut Skb, packet: &Packet, sender: &Pod) -> Option<Result<Verdict, Reason>> {
    if sender.flags & (PodFlags::VIA_STACK | PodFlags::PORTS) == 0 {
        return None;
    }
    if matches!(packet.protocol, Protocol::ICMP | Protocol::ICMPV6) {
        let reported = report(skb, packet);
        if reported.is_some() {
            return reported;
        }
    }
    look_up(skb, packet)
}

/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn look_up(skb: &mut Skb, packet: &Packet) -> Option<Result<Verdict, Reason>> {
    let (transport, opening) = (maps::transport()?, maps::opening()?);
    if !transport::read(skb, packet, transport) {
        return None;
    }
    let Opening { tuple, shown: back, .. } = opening;
    *tuple = transport.outbound(packet);
    let live = maps::flow(tuple)?;
    let flags = live.get().flags;
    if flags & FlowFlags::PORT == 0 {
        if flags & FlowFlags::VIA_STACK == 0 {
            return None;
        }
        age::touch(live, transport.flags, true);
        return Some(Ok(Verdict::Pass));
    }
    age::touch_out(live, tuple, transport.flags);
    *back = tuple.reversed();
    (back.outside, back.outside_port) = (live.get().nat_addr, live.get().nat_port);
    // Without one the packet goes to the stack as it is, and is translated behind it.
    let way = find(skb, packet, back);
    if way == Way::Stack {
        return None;
    }
    Some(rename(skb, packet, transport, back, way).and_then(|()| go(skb, packet, way)))
}

/// An error about what somebody sent to a port of the node, or by way of the stack.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn report(skb: &mut Skb, packet: &Packet) -> Option<Result<Verdict, Reason>> {
    let (error, back) = (maps::transport()?, &mut maps::opening()?.shown);
    if !transport::read(skb, packet, error) || error.kind != Kind::Error {
        return None;
    }
    match about::asked(skb, packet, error, back) {
        0 => return None,
        flags if flags & FlowFlags::PORT == 0 => return Some(Ok(Verdict::Pass)),
        _ => {}
    }
    let way = find(skb, packet, back);
    if way == Way::Stack {
        return None;
    }
    let mut reason = about::outbound(skb, packet, error);
    if way == Way::Own && reason == Reason::Translated {
        reason = about::to_itself(skb, packet, error, &maps::leg()?.own);
    }
    Some(if reason == Reason::Translated { go(skb, packet, way) } else { Err(reason) })
}

/// Gives the packet the address and port that were asked for, and of a pod that asked itself its own in their place.
#[inline(always)]
fn rename(skb: &mut Skb, packet: &Packet, transport: &Transport, back: &Tuple, way: Way) -> Result<(), Reason> {
    rewrite::translate(skb, packet, transport, End::Source, &back.outside, back.outside_port)?;
    if way == Way::Own {
        let Leg { own, .. } = maps::leg().ok_or(Reason::FlowTable)?;
        rewrite::translate(skb, packet, transport, End::Destination, &own.inside, own.inside_port)?;
    }
    Ok(())
}

/// Finds the way of an answer with that flow: whoever asked inside, what was asked for outside.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn find(skb: &Skb, packet: &Packet, back: &Tuple) -> Way {
    let Some(leg) = maps::leg() else { return Way::Stack };
    if deliver::receiver(packet).is_some() {
        return Way::Pod;
    }
    if back.inside == back.outside
        && let Some(live) = maps::nat(back)
    {
        leg.own = live.get();
        age::touch_in(live, &leg.own, 0);
        return Way::Own;
    }
    if onward::tunnel_for(skb, packet).is_some() {
        return Way::Tunnel;
    }
    if maps::is_node_addr(&packet.dst) {
        return Way::Node;
    }
    let Some(hop) = onward::hop(skb, packet, &back.outside) else { return Way::Stack };
    leg.hop = hop;
    Way::Hop
}

#[inline(always)]
fn go(skb: &mut Skb, packet: &Packet, way: Way) -> Result<Verdict, Reason> {
    if way == Way::Tunnel {
        let peer = onward::tunnel_for(skb, packet).ok_or(Reason::NoSuchPod)?;
        return match onward::tunnel(skb, packet, peer) {
            Verdict::Sent(_, action) => Ok(Verdict::Sent(Reason::Translated, action)),
            verdict => Ok(verdict),
        };
    }
    if way == Way::Node {
        deliver::to_loopback(skb)?;
        return Ok(Verdict::Sent(Reason::Translated, Skb::receive_by(LOOPBACK)));
    }
    let Leg { hop, own } = maps::leg().ok_or(Reason::FlowTable)?;
    if way == Way::Hop {
        rewrite::count_down(skb, packet)?;
        skb.set_mark(Mark::DONE);
        return Ok(Verdict::Sent(Reason::Translated, Skb::send_to(hop)));
    }
    let to = if way == Way::Own { &own.inside } else { &packet.dst };
    deliver::translated(skb, maps::pod(to).ok_or(Reason::NoSuchPod)?)
}

/// Gives an answer that came to an uplink by way of the stack the node's address; anything else is not our business.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn late(skb: &mut Skb, packet: &Packet) -> Reason {
    let Ok(mut transport) = parse::transport(skb, packet) else { return Reason::Host };
    if !fragment::complete(packet, &mut transport) {
        return Reason::Host;
    }
    let tuple = transport.outbound(packet);
    let Some(live) = maps::flow(&tuple) else { return Reason::Host };
    let flow = live.get();
    if flow.flags & FlowFlags::PORT == 0 {
        return Reason::Host;
    }
    age::touch_out(live, &tuple, transport.flags);
    rewrite::translate(skb, packet, &transport, End::Source, &flow.nat_addr, flow.nat_port)
        .err()
        .unwrap_or(Reason::Translated)
}

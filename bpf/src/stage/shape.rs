//! Limited pods: into the queue, and out of it.

use weft_abi::{Direction, Limit, Pod, PodFlags, Reason, Token};

use super::size;
use crate::maps;
use crate::parse::{self, Ethertype, Packet};
use crate::skb::Skb;
use crate::verdict::{NEXT, Verdict};

/// Sends what a limited pod sends into the queue; what has been through it goes on.
#[inline(always)]
pub(crate) fn from_pod(skb: &mut Skb, pod: &Pod) -> Option<Verdict> {
    if pod.flags & PodFlags::LIMIT_EGRESS == 0 {
        return None;
    }
    queued(leave_or_enter(skb))
}

/// Sends what is for a limited pod into the queue, which ends in the pod.
#[inline(always)]
pub(crate) fn to_pod(skb: &mut Skb, pod: &Pod) -> Option<Verdict> {
    if pod.flags & PodFlags::LIMIT_INGRESS == 0 {
        return None;
    }
    queued(enter(skb, Direction::Ingress))
}

#[inline(always)]
fn queued(action: i32) -> Option<Verdict> {
    (action != NEXT).then_some(Verdict::Sent(Reason::Queued, action))
}

/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn leave_or_enter(skb: &mut Skb) -> i32 {
    if skb.token().is_some() {
        skb.set_token(None);
        return NEXT;
    }
    enter(skb, Direction::Egress)
}

/// What to tell the kernel, or to go on where there is no queue.
#[inline(always)]
fn enter(skb: &mut Skb, direction: Direction) -> i32 {
    let Some(shaper) = maps::shaper() else { return NEXT };
    skb.set_token(Some(Token::new(direction, maps::ktime())));
    Skb::send_by(shaper.entrance)
}

/// At the entrance: says when, or in which class, the packet waits. A pod so slow that one large packet would keep its
/// others waiting has them cut first: they leave by the far end, whose device cuts, and come back.
#[inline(always)]
pub(crate) fn wait(skb: &mut Skb, token: Token) -> Result<i32, Reason> {
    let packet = packet(skb)?;
    let pod = owner(&packet, token)?;
    let (Some(bucket), Some(shaper)) = (maps::bucket(pod.endpoint_id, token.direction()), maps::shaper()) else {
        // Without a limit by now: no class, no time.
        skb.set_class(0);
        return Ok(NEXT);
    };
    let limit = bucket.limit();
    if limit.is_slow() && !token.is_cut() {
        return Ok(Skb::send_by(shaper.exit));
    }
    let bytes = size::wire(skb, &packet);
    if !shaper.departs {
        skb.set_class(limit.class);
        bucket.update(|limit| {
            limit.offered_packets += 1;
            limit.offered_bytes += bytes;
        });
        return Ok(NEXT);
    }
    let (now, cost, queue) = (maps::ktime(), limit.time_ns(bytes), limit.queue_ns());
    let departure = bucket.update(|limit| {
        limit.offered_packets += 1;
        limit.offered_bytes += bytes;
        limit.depart(now, cost, queue)
    });
    skb.set_departure(departure.ok_or(Reason::RateLimit)?);
    Ok(NEXT)
}

/// At the far end: what the pod sent takes up its way where it left it, what is for the pod is there.
#[inline(always)]
pub(crate) fn go_on(skb: &mut Skb, token: Token) -> Result<&'static Pod, Reason> {
    let packet = packet(skb)?;
    let pod = owner(&packet, token)?;
    if let Some(bucket) = maps::bucket(pod.endpoint_id, token.direction()) {
        let (bytes, waited) = (size::wire(skb, &packet), token.age_ns(maps::ktime()));
        let marked = waited > bucket.limit().mark_ns() && skb.mark_congestion();
        bucket.update(|limit| {
            limit.sent_packets += 1;
            limit.sent_bytes += bytes;
            limit.delay_ns += waited;
            limit.delayed_packets += u64::from(waited > Limit::DELAYED_NS);
            limit.marked_packets += u64::from(marked);
        });
    }
    Ok(pod)
}

#[inline(always)]
fn packet(skb: &mut Skb) -> Result<Packet, Reason> {
    parse::ip(skb).unwrap_or_else(|| Err(Ethertype::strange(skb.ethertype())))
}

/// The pod that the limit is about; one that is gone meanwhile gets nothing.
#[inline(always)]
fn owner(packet: &Packet, token: Token) -> Result<&'static Pod, Reason> {
    let addr = match token.direction() {
        Direction::Egress => &packet.src,
        Direction::Ingress => &packet.dst,
    };
    maps::pod(addr).ok_or(Reason::NoSuchPod)
}

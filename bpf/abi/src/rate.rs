//! The value of `rates`: how fast a pod may be, and how fast it was.

use crate::Direction;

/// Both directions of a pod. The key is the number of its endpoint, so that the addresses of a dual-stack pod share
/// one limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Guards what the programs write of both.
    pub lock: bpf_spin_lock,
    /// Zero.
    pub pad: u32,
    /// What the pod sends.
    pub egress: Limit,
    /// What the pod is sent.
    pub ingress: Limit,
}

const _: () = assert!(size_of::<Rate>() == 200 && align_of::<Rate>() == 8);

impl Rate {
    /// The limit of that direction.
    #[inline(always)]
    pub const fn limit(&self, direction: Direction) -> &Limit {
        match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        }
    }

    /// The limit of that direction.
    #[inline(always)]
    pub const fn limit_mut(&mut self, direction: Direction) -> &mut Limit {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }
}

/// The kernel knows a lock in a map's value by this name.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct bpf_spin_lock {
    /// The kernel's.
    pub val: u32,
}

/// One direction: the limit, the state of its bucket, and what came of it.
///
/// Bytes are those of IP packets as they are on the wire, without the link layer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Bytes a second; 0 for no limit.
    pub rate: u64,
    /// Nanoseconds that an idle pod may be ahead of its rate: the burst, as time.
    pub credit_ns: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds at which the next packet may leave; kept only where packets get a departure
    /// time.
    pub next_ns: u64,
    /// Packets that came to the queue; a GSO packet counts once, here and below.
    pub offered_packets: u64,
    /// Their bytes.
    pub offered_bytes: u64,
    /// Packets that left the queue.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets among those that had to wait for more than a millisecond.
    pub delayed_packets: u64,
    /// Time in nanoseconds that packets have spent in the queue.
    pub delay_ns: u64,
    /// Packets that were marked (ECN, RFC 3168) because the queue was long.
    pub marked_packets: u64,
    /// Packets that the program dropped because the queue was full; what a queueing discipline drops, it counts.
    pub dropped_packets: u64,
    /// Handle of the pod's class where classes hold the rate; 0 where packets get a departure time.
    pub class: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<Limit>() == 96);

impl Limit {
    /// Nanoseconds of the rate that wait at most.
    pub const QUEUE_NS: u64 = 50_000_000;
    /// Full packets that may wait where those take longer.
    pub const QUEUE_PACKETS: u64 = 8;
    /// Bytes of a full packet, where the pod's MTU is not known.
    pub const PACKET: u64 = 1500;
    /// A packet that waited longer counts as delayed.
    pub const DELAYED_NS: u64 = 1_000_000;
    /// Nanoseconds that one packet may keep the others waiting, at most: else large ones are cut.
    const PACKET_NS: u64 = 5_000_000;
    /// Bytes of a packet that is to be segmented, at most.
    const GSO: u64 = 65536;
    const SECOND: u64 = 1_000_000_000;
    /// Nanoseconds of its rate that a pod may always be ahead: a timer may be late by some of them.
    const LEAST_BURST_NS: u64 = 5_000_000;
    /// Full packets that it may always be ahead.
    const LEAST_BURST_PACKETS: u64 = 4;

    /// Nanoseconds that so many bytes take; not for long when there is no limit.
    #[inline(always)]
    pub const fn time_ns(&self, bytes: u64) -> u64 {
        match (bytes * Self::SECOND).checked_div(self.rate) {
            Some(time) => time,
            None => 0,
        }
    }

    /// Whether packets are to be cut to the wire's size before they wait, because a large one would take too long.
    #[inline(always)]
    pub const fn is_slow(&self) -> bool {
        // Smaller than any product that could overflow.
        self.rate < Self::GSO * Self::SECOND / Self::PACKET_NS
    }

    /// Nanoseconds that a packet waits at most.
    #[inline(always)]
    pub const fn queue_ns(&self) -> u64 {
        let packets = self.time_ns(Self::QUEUE_PACKETS * Self::PACKET);
        if packets > Self::QUEUE_NS { packets } else { Self::QUEUE_NS }
    }

    /// Nanoseconds after which a packet is marked: half the queue.
    #[inline(always)]
    pub const fn mark_ns(&self) -> u64 {
        self.queue_ns() / 2
    }

    /// Bytes that wait at most, where the largest packet has that many.
    pub const fn queue_bytes(&self, packet: u64) -> u64 {
        // In this order nothing overflows, and a slow rate does not come to nothing.
        let time = self.rate / (Self::SECOND / Self::QUEUE_NS);
        let packets = Self::QUEUE_PACKETS * packet;
        if packets > time { packets } else { time }
    }

    /// The smallest burst with which the rate is reached, as nanoseconds of it, where a full packet has so many bytes.
    pub const fn least_burst_ns(&self, packet: u64) -> u64 {
        let packets = self.time_ns(Self::LEAST_BURST_PACKETS * packet);
        if packets > Self::LEAST_BURST_NS { packets } else { Self::LEAST_BURST_NS }
    }

    /// Counts a packet that came to the queue and gives it its time to leave, in nanoseconds of the monotonic clock;
    /// `None`, and counted as dropped, if the queue is full. `cost_ns` is the time that it takes itself, `queue_ns`
    /// that which it may wait.
    #[inline(always)]
    pub const fn depart(&mut self, now_ns: u64, cost_ns: u64, queue_ns: u64) -> Option<u64> {
        let earliest = now_ns.saturating_sub(self.credit_ns);
        let departure = if self.next_ns > earliest { self.next_ns } else { earliest };
        if departure > now_ns + queue_ns {
            self.dropped_packets += 1;
            return None;
        }
        self.next_ns = departure + cost_ns;
        Some(if departure > now_ns { departure } else { now_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    /// 10 Mbit/s, 2 ms of burst.
    fn limit() -> Limit {
        Limit { rate: 1_250_000, credit_ns: 2 * MILLI, ..Limit::default() }
    }

    #[test]
    fn packets_leave_at_the_rate_once_the_burst_is_used_up() {
        let (mut limit, now) = (limit(), 1_000 * MILLI);
        let cost = limit.time_ns(1250);
        assert_eq!(cost, MILLI);
        let times = [(); 5].map(|()| limit.depart(now, cost, limit.queue_ns()).unwrap() - now);
        assert_eq!(times, [0, 0, 0, MILLI, 2 * MILLI]);
    }

    #[test]
    fn a_pause_earns_no_more_than_the_burst() {
        let (mut limit, cost) = (limit(), MILLI);
        limit.depart(1_000 * MILLI, cost, limit.queue_ns());
        let now = 60_000 * MILLI;
        let times = [(); 4].map(|()| limit.depart(now, cost, limit.queue_ns()).unwrap() - now);
        assert_eq!(times, [0, 0, 0, MILLI]);
    }

    #[test]
    fn a_full_queue_takes_no_more_and_forgets_what_it_did_not_take() {
        let (mut limit, now) = (limit(), 1_000 * MILLI);
        let taken = (0..100).filter(|_| limit.depart(now, MILLI, limit.queue_ns()).is_some()).count();
        // Two of the burst, the one that leaves now, and 50 ms of others.
        assert_eq!(taken, 53);
        assert_eq!(limit.dropped_packets, 47);
        assert!(limit.depart(now + MILLI, MILLI, limit.queue_ns()).is_some());
    }

    #[test]
    fn a_slow_pod_may_queue_some_packets_and_a_fast_one_some_time() {
        let slow = Limit { rate: 12_500, ..Limit::default() };
        assert_eq!((slow.queue_ns(), slow.queue_bytes(1500)), (960 * MILLI, 12_000));
        let fast = Limit { rate: 125_000_000, ..Limit::default() };
        assert_eq!((fast.queue_ns(), fast.queue_bytes(1500)), (50 * MILLI, 6_250_000));
        assert!(slow.is_slow() && !fast.is_slow());
        let fastest = Limit { rate: u64::MAX, ..Limit::default() };
        assert_eq!((fastest.queue_ns(), fastest.is_slow()), (50 * MILLI, false));
    }
}

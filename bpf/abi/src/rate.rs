//! The value of `rates`: how fast a pod may be, and how fast it was.

/// Both directions of a pod. The key is the number of its endpoint, so that the addresses of a dual-stack pod share
/// one limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Guards [`Limit::next_ns`] of both.
    pub lock: bpf_spin_lock,
    /// Zero.
    pub pad: u32,
    /// What the pod sends.
    pub egress: Limit,
    /// What the pod is sent.
    pub ingress: Limit,
}

const _: () = assert!(size_of::<Rate>() == 200 && align_of::<Rate>() == 8);

/// The kernel knows a lock in a map's value by this name.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct bpf_spin_lock {
    /// The kernel's.
    pub val: u32,
}

/// One direction: the limit, the state of its bucket, and what came of it.
///
/// Bytes are those of IP packets, without the link layer.
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

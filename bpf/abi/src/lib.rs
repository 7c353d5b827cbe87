//! What the eBPF programs and the agent agree on: keys, values, names and sizes of the maps.
//!
//! Every struct is `repr(C)`, has no hidden padding and a size that the compiler checks. Changing a
//! layout means raising [`VERSION`]: maps are pinned below a directory of that number.
#![no_std]
#![forbid(unsafe_code)]
#![expect(clippy::inline_always, reason = "a call costs a program more than its body")]

mod addr;
mod event;
mod pod;
mod reason;

pub use addr::Addr;
pub use event::DropEvent;
pub use pod::{Pod, PodFlags};
pub use reason::{Direction, Reason, counter_index};

/// Version of every layout in this crate; maps and links are pinned below `v<VERSION>`.
pub const VERSION: u32 = 1;

/// The link-local IPv4 gateway that every pod sees, 169.254.1.1, in network byte order.
pub const GATEWAY_V4: [u8; 4] = [169, 254, 1, 1];

/// The link-local IPv6 gateway that every pod sees, `fe80::1`, in network byte order.
pub const GATEWAY_V6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Names of the maps, as the programs declare them and as they are pinned.
pub mod map {
    /// Hash, pod [`Addr`](crate::Addr) to [`Pod`](crate::Pod).
    pub const PODS: &str = "pods";
    /// Per-CPU array, [`counter_index`](crate::counter_index) to [`Counter`](crate::Counter).
    pub const COUNTERS: &str = "counters";
    /// Ring buffer of [`DropEvent`](crate::DropEvent).
    pub const EVENTS: &str = "events";
}

/// Names of the programs, one a hook.
pub mod program {
    /// tc ingress of a pod's host veth: what the pod sends.
    pub const FROM_POD: &str = "from_pod";
    /// tc egress of a pod's host veth: what the node's stack sends to the pod.
    pub const TO_POD: &str = "to_pod";
}

/// Entries of `pods`: addresses, so a dual-stack pod takes two.
pub const PODS_MAX: u32 = 8192;

/// Entries of `counters`: one a verdict and direction, with room for verdicts to come.
pub const COUNTERS_MAX: u32 = 128;

/// Bytes of the `events` ring buffer; a power of two and a multiple of the page size.
pub const EVENTS_BYTES: u32 = 256 * 1024;

/// A value of `counters`, one a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets; a GSO packet counts once.
    pub packets: u64,
    /// Bytes, link-layer header included.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Counter>() == 16);

/// Marks types without padding for which every bit pattern is a valid value.
///
/// The agent may view such a value as bytes. Only this crate implements it, for the types above.
pub trait Plain: Copy + 'static + sealed::Sealed {}

mod sealed {
    /// Keeps [`Plain`](super::Plain) to this crate.
    pub trait Sealed {}
}

macro_rules! plain {
    ($($ty:ty),+ $(,)?) => {
        $(impl sealed::Sealed for $ty {} impl Plain for $ty {})+
    };
}
plain!(Addr, Pod, Counter, DropEvent);

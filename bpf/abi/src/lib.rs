//! What the eBPF programs and the agent agree on: keys, values, names and sizes of the maps.
//!
//! Every struct is `repr(C)`, has no hidden padding and a size that the compiler checks. Changing a
//! layout means raising [`VERSION`]: maps are pinned below a directory of that number.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that cannot go on has failed"))]
#![expect(clippy::inline_always, reason = "a call costs a program more than its body")]

mod addr;
mod event;
mod flow;
mod fragment;
mod node;
mod peer;
mod pod;
mod port;
mod prefix;
mod rate;
mod reason;
mod sock;
mod token;
mod uplink;

pub use addr::Addr;
pub use event::{Event, EventKind, Hook};
pub use flow::{ECHO, Flow, FlowFlags, Nat, TICK_SHIFT, Target, Tuple, tick};
pub use fragment::{Fragment, PARKED_FRAME_MAX, Parked, Ports};
pub use node::{NodeState, TraceFilter};
pub use peer::{Peer, PeerFlags};
pub use pod::{Pod, PodFlags};
pub use port::HostPort;
pub use prefix::Prefix;
pub use rate::{Limit, Rate, bpf_spin_lock};
pub use reason::{Direction, Reason, counter_index};
pub use sock::SockPeer;
pub use token::Token;
pub use uplink::Uplink;

/// Version of every layout in this crate; maps and links are pinned below `v<VERSION>`.
pub const VERSION: u32 = 3;

/// The link-local IPv4 gateway that every pod sees, 169.254.1.1, in network byte order.
pub const GATEWAY_V4: [u8; 4] = [169, 254, 1, 1];

/// The link-local IPv6 gateway that every pod sees, `fe80::1`, in network byte order.
pub const GATEWAY_V6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Names of the maps, as the programs declare them and as they are pinned.
pub mod map {
    /// Hash, pod [`Addr`](crate::Addr) to [`Pod`](crate::Pod).
    pub const PODS: &str = "pods";
    /// LPM trie, [`Prefix`](crate::Prefix) to [`Peer`](crate::Peer).
    pub const PEERS: &str = "peers";
    /// Hash, interface index to [`Uplink`](crate::Uplink).
    pub const UPLINKS: &str = "uplinks";
    /// LRU hash, [`Tuple`](crate::Tuple) with the pod inside to [`Flow`](crate::Flow).
    pub const FLOWS: &str = "flows";
    /// LRU hash, [`Tuple`](crate::Tuple) with the node inside to [`Nat`](crate::Nat).
    pub const NAT: &str = "nat";
    /// Hash, [`Target`](crate::Target) to [`HostPort`](crate::HostPort): ports of the node that are pods'.
    pub const PORTS: &str = "ports";
    /// Hash, [`Addr`](crate::Addr) to a `u32` without meaning: the addresses of the node.
    pub const NODE_ADDRS: &str = "node_addrs";
    /// LRU hash, [`SockPeer`](crate::SockPeer) to [`Target`](crate::Target): what sockets of the node asked for.
    pub const SOCKS: &str = "socks";
    /// Hash, number of the endpoint (`u32`) to [`Rate`](crate::Rate).
    pub const RATES: &str = "rates";
    /// LRU hash, [`Target`](crate::Target) to the number of flows (`u64`) that found no port.
    pub const NAT_FULL: &str = "nat_full";
    /// LPM trie, [`Prefix`](crate::Prefix) to a `u32` without meaning: destinations that see pods as they are.
    pub const MASQ_EXEMPT: &str = "masq_exempt";
    /// LRU hash, [`Fragment`](crate::Fragment) to [`Ports`](crate::Ports).
    pub const FRAGS: &str = "frags";
    /// Array of one [`NodeState`](crate::NodeState).
    pub const NODE: &str = "node";
    /// Per-CPU array, [`counter_index`](crate::counter_index) to [`Counter`](crate::Counter).
    pub const COUNTERS: &str = "counters";
    /// Ring buffer of [`Event`](crate::Event).
    pub const EVENTS: &str = "events";
    /// Ring buffer of [`Parked`](crate::Parked).
    pub const PARKED: &str = "parked";
}

/// Names of the constants that the agent sets before it loads the programs; all are `u32` unless they say otherwise.
pub mod global {
    /// UDP port of the overlay in host byte order; 0 without overlay.
    pub const OVERLAY_PORT: &str = "OVERLAY_PORT";
    /// Not 0: pods' packets to other machines go past the node's stack, straight to the uplink.
    pub const HOST_ROUTING: &str = "HOST_ROUTING";
    /// Cookie of the network namespace whose sockets may use ports of the node (`SO_NETNS_COOKIE`), a `u64`; 0 stands
    /// for the first namespace of the machine.
    pub const NETNS_COOKIE: &str = "NETNS_COOKIE";
}

/// Entries of `pods`: addresses, so a dual-stack pod takes two.
pub const PODS_MAX: u32 = 8192;

/// Entries of `peers`: ranges and node addresses, so a dual-stack node takes four.
pub const PEERS_MAX: u32 = 65536;

/// Entries of `uplinks`.
pub const UPLINKS_MAX: u32 = 64;

/// Entries of `flows` and of `nat` unless the agent is told otherwise.
pub const FLOWS_MAX: u32 = 131_072;

/// Entries of `ports`: mappings by address, so one for both families takes two.
pub const PORTS_MAX: u32 = 65536;

/// Entries of `node_addrs`.
pub const NODE_ADDRS_MAX: u32 = 4096;

/// Entries of `socks`: sockets of the node that have gone to a pod by a port of the node.
pub const SOCKS_MAX: u32 = 16384;

/// Entries of `rates`: limited endpoints.
pub const RATES_MAX: u32 = 8192;

/// Entries of `nat_full`.
pub const NAT_FULL_MAX: u32 = 256;

/// Entries of `masq_exempt`.
pub const MASQ_EXEMPT_MAX: u32 = 32768;

/// Entries of `frags`.
pub const FRAGS_MAX: u32 = 8192;

/// Entries of `counters`: one a verdict and direction, with room for verdicts to come.
pub const COUNTERS_MAX: u32 = 128;

/// Bytes of the `events` ring buffer; a power of two and a multiple of the page size.
pub const EVENTS_BYTES: u32 = 256 * 1024;

/// Bytes of the `parked` ring buffer, likewise: some 250 fragments.
pub const PARKED_BYTES: u32 = 512 * 1024;

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
/// The agent may view such a value as bytes. Only this crate implements it, for the types above and for plain words.
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
plain!(
    u32, u64, Addr, Prefix, Pod, Peer, Uplink, Tuple, Flow, Nat, Target, HostPort, SockPeer, Rate, Fragment, Ports,
    Parked, NodeState, Counter, Event
);

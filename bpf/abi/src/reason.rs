//! What a hook decided and why: the one list behind counters, events, metrics and docs.

/// The way a packet was going, seen from the pod.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The pod sent it.
    Egress = 0,
    /// It was on its way to the pod.
    Ingress = 1,
}

impl Direction {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Egress, Self::Ingress];

    /// The word that people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// The verdict on a packet: delivered, passed on, or dropped and why.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Reason {
            /// Every reason, in the order of their numbers, which have no gap.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that people, metrics and documents use.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// One sentence that says what happened.
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// Redirected straight into a pod.
    Delivered = 0, "delivered";
    /// Left to the node's stack, or let through to the pod.
    Passed = 1, "passed";
    /// The gateway's ARP or neighbour answer was given by the program itself.
    Answered = 2, "answered";
    /// The headers are truncated or their lengths do not fit the packet.
    Malformed = 3, "malformed";
    /// Neither IPv4, IPv6 nor ARP.
    EtherType = 4, "ethertype";
    /// The frame carries a VLAN tag.
    VlanTag = 5, "vlan-tag";
    /// The source MAC is not the pod's.
    SourceMac = 6, "source-mac";
    /// The source address is not the pod's.
    SourceAddr = 7, "source-addr";
    /// An ARP or neighbour message speaks for an address or MAC that is not the pod's.
    NeighSpoof = 8, "neigh-spoof";
    /// An IPv6 header carries an IPv4-mapped address.
    MappedAddr = 9, "mapped-addr";
    /// Broadcast or multicast, which no pod may send to others.
    Multicast = 10, "multicast";
    /// A router advertisement or redirect from a pod.
    RogueRouter = 11, "rogue-router";
    /// The destination is not an address of the pod behind this interface.
    NotForPod = 12, "not-for-pod";
    /// Sent through the overlay to the node of the pod that it is for.
    Tunnelled = 13, "tunnelled";
    /// Sent out of an uplink by the node's routes, past its stack.
    Routed = 14, "routed";
    /// The source became the node's on the way out, or the pod's own again on the way back.
    Translated = 15, "translated";
    /// No pod's packet: let through at an uplink.
    Host = 16, "host";
    /// A tunnel packet from an address that is no peer's, or of another virtual network.
    UnknownPeer = 17, "unknown-peer";
    /// A tunnel packet whose inner source does not live on the node that sent it.
    PeerSource = 18, "peer-source";
    /// A pod would send tunnel packets in the node's name.
    TunnelSpoof = 19, "tunnel-spoof";
    /// The uplink has no address of the packet's family to translate the source to.
    NoNatAddr = 20, "no-nat-addr";
    /// No port is left towards this destination.
    NatExhausted = 21, "nat-exhausted";
    /// The flow could not be recorded.
    FlowTable = 22, "flow-table";
    /// For a pod of this node that is not there, or is gone.
    NoSuchPod = 23, "no-such-pod";
    /// An ICMP error about a flow that is not known.
    Unrelated = 24, "unrelated";
    /// Sent to the queue in which the pod's packets wait for their turn; counted once more when it is out of it.
    Queued = 25, "queued";
    /// The queue of a limited pod is full.
    RateLimit = 26, "rate-limit";
}

impl Reason {
    /// The reason of that number, if there is one.
    pub fn from_number(number: u32) -> Option<Self> {
        usize::try_from(number).ok().and_then(|n| Self::ALL.get(n)).copied()
    }

    /// Whether a packet with this verdict was dropped.
    pub const fn is_drop(self) -> bool {
        !matches!(
            self,
            Self::Delivered
                | Self::Passed
                | Self::Answered
                | Self::Tunnelled
                | Self::Routed
                | Self::Translated
                | Self::Host
                | Self::Queued
        )
    }
}

/// The index into `counters` for a verdict in a direction.
#[inline(always)]
pub const fn counter_index(reason: Reason, direction: Direction) -> u32 {
    reason as u32 * 2 + direction as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_gap_and_come_back() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
            assert_eq!(Reason::from_number(*reason as u32), Some(*reason));
        }
        assert_eq!(Reason::from_number(u32::MAX), None);
    }

    #[test]
    fn eight_are_no_drops() {
        assert_eq!(Reason::ALL.iter().filter(|reason| !reason.is_drop()).count(), 8);
    }
}

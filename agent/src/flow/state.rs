//! The state of a flow, from what both tables know of it.

use weft_abi::{Flow, FlowFlags, Nat};

/// IP protocols (IANA, "Assigned Internet Protocol Numbers").
pub(crate) mod protocol {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const SCTP: u8 = 132;

    const NAMES: [(u8, &str); 5] = [(ICMP, "icmp"), (TCP, "tcp"), (UDP, "udp"), (ICMPV6, "icmpv6"), (SCTP, "sctp")];

    /// Whether flows of it have ports, or an identifier in their place.
    pub(crate) fn has_ports(number: u8) -> bool {
        NAMES.iter().any(|(known, _)| *known == number)
    }

    /// Its name, or its number.
    pub(crate) fn name(number: u8) -> String {
        let known = NAMES.iter().find(|(known, _)| *known == number);
        known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
    }

    /// The protocol of that name or number.
    pub(crate) fn number(name: &str) -> Option<u8> {
        let known = NAMES.iter().find(|(_, known)| *known == name);
        known.map(|(number, _)| *number).or_else(|| name.parse().ok())
    }
}

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// TCP: the handshake is not through.
    Opening,
    /// TCP: whoever began it has acknowledged the answer, or it was there before us.
    Established,
    /// TCP: one end has sent its FIN.
    HalfClosed,
    /// TCP: both ends have sent their FIN, or one a RST.
    Closing,
    /// Other protocols: one end has spoken alone.
    Single,
    /// Other protocols: both ends have spoken.
    Stream,
}

impl State {
    pub(crate) const ALL: [Self; 6] =
        [Self::Opening, Self::Established, Self::HalfClosed, Self::Closing, Self::Single, Self::Stream];

    /// The word that people see.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::HalfClosed => "half-closed",
            Self::Closing => "closing",
            Self::Single => "single",
            Self::Stream => "stream",
        }
    }

    /// The state of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether one end has yet to show that it is there.
    pub(crate) const fn is_unanswered(self) -> bool {
        matches!(self, Self::Opening | Self::Single)
    }
}

/// What `nat` knows of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Back {
    /// Tick of the last packet from the outside; 0 before the first.
    pub(super) seen: u32,
    /// Closing bits that the outside set.
    pub(super) flags: u32,
}

impl From<Nat> for Back {
    fn from(nat: Nat) -> Self {
        Self { seen: nat.seen, flags: nat.flags }
    }
}

/// The state of a flow; `back` of one that is translated.
pub(super) const fn state(protocol: u8, flow: &Flow, back: Option<Back>) -> State {
    const BOTH: u32 = FlowFlags::FIN_INSIDE | FlowFlags::FIN_OUTSIDE;
    let Back { seen, flags } = match back {
        Some(back) => back,
        None => Back { seen: 0, flags: 0 },
    };
    let flags = flow.flags | flags;
    if protocol != protocol::TCP {
        // What came by a port of the node has been seen from the outside from its begin.
        let answered = flags & FlowFlags::REPLIED != 0 || seen != 0 && flags & FlowFlags::PORT == 0;
        return if answered { State::Stream } else { State::Single };
    }
    if flags & FlowFlags::RESET != 0 || flags & BOTH == BOTH {
        State::Closing
    } else if flags & BOTH != 0 {
        State::HalfClosed
    } else if flags & FlowFlags::CONFIRMED != 0 {
        State::Established
    } else {
        State::Opening
    }
}

/// Tick of the last packet either way.
pub(super) fn last_seen(flow: &Flow, back: Option<Back>) -> u32 {
    flow.seen.max(back.map_or(0, |back| back.seen))
}

/// Whole ticks that have certainly passed since one: a packet may have come at its end.
pub(super) const fn ticks_since(now: u32, then: u32) -> u32 {
    now.saturating_sub(then).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::protocol::{ICMP, TCP, UDP};
    use super::*;

    fn flow(flags: u32) -> Flow {
        Flow { seen: 100, created: 90, flags, ..Flow::default() }
    }

    #[test]
    fn tcp_opens_and_closes() {
        let answered = Some(Back { seen: 95, flags: 0 });
        let nobody = Some(Back::default());
        assert_eq!(state(TCP, &flow(FlowFlags::TRANSLATED), nobody), State::Opening);
        assert_eq!(state(TCP, &flow(FlowFlags::TRANSLATED), answered), State::Opening);
        assert_eq!(state(TCP, &flow(FlowFlags::TRANSLATED | FlowFlags::CONFIRMED), answered), State::Established);
        // A flood of SYNs gets answers and acknowledges none.
        assert_eq!(state(TCP, &flow(FlowFlags::INBOUND | FlowFlags::REPLIED), None), State::Opening);
        assert_eq!(state(TCP, &flow(FlowFlags::INBOUND | FlowFlags::CONFIRMED), None), State::Established);
        assert_eq!(state(TCP, &flow(FlowFlags::INBOUND), None), State::Opening);
        assert_eq!(state(TCP, &flow(FlowFlags::FIN_INSIDE), answered), State::HalfClosed);
        let fin = Some(Back { seen: 95, flags: FlowFlags::FIN_OUTSIDE });
        assert_eq!(state(TCP, &flow(0), fin), State::HalfClosed);
        assert_eq!(state(TCP, &flow(FlowFlags::FIN_INSIDE), fin), State::Closing);
        let reset = Some(Back { seen: 95, flags: FlowFlags::RESET });
        assert_eq!(state(TCP, &flow(0), reset), State::Closing);
        assert_eq!(state(TCP, &flow(FlowFlags::RESET), nobody), State::Closing);
    }

    #[test]
    fn others_speak_alone_or_both() {
        for protocol in [ICMP, UDP, 132, 47] {
            assert_eq!(state(protocol, &flow(0), Some(Back::default())), State::Single);
            assert_eq!(state(protocol, &flow(0), Some(Back { seen: 1, flags: 0 })), State::Stream);
            assert_eq!(state(protocol, &flow(FlowFlags::REPLIED), None), State::Stream);
            let asked = Some(Back { seen: 100, flags: FlowFlags::PORT });
            assert_eq!(state(protocol, &flow(FlowFlags::PORT), asked), State::Single);
            assert_eq!(state(protocol, &flow(FlowFlags::PORT | FlowFlags::REPLIED), asked), State::Stream);
        }
    }

    #[test]
    fn names_come_back() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
        }
        for number in [1, 6, 17, 47, 58, 132] {
            assert_eq!(protocol::number(&protocol::name(number)), Some(number));
        }
        assert_eq!((protocol::number("256"), State::from_name("dead")), (None, None));
    }

    #[test]
    fn time_is_never_overestimated() {
        assert_eq!(ticks_since(100, 100), 0);
        assert_eq!(ticks_since(101, 100), 0);
        assert_eq!(ticks_since(103, 100), 2);
        assert_eq!(ticks_since(99, 100), 0);
        assert_eq!(last_seen(&flow(0), Some(Back { seen: 120, flags: 0 })), 120);
        assert_eq!(last_seen(&flow(0), None), 100);
    }
}

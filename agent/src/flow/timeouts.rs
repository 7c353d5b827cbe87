//! How long a flow of each kind is kept after its last packet.

use std::time::Duration;

use weft_abi::TICK_SHIFT;

use super::state::{State, protocol};

/// How long a flow is kept after its last packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP: both ends have spoken. RFC 5382, section 5 asks for 2 h 4 min at least.
    pub tcp_established: Duration,
    /// TCP: the handshake is not through.
    pub tcp_opening: Duration,
    /// TCP: one end has sent its FIN.
    pub tcp_half_closed: Duration,
    /// TCP: both ends have sent their FIN, or one a RST.
    pub tcp_closing: Duration,
    /// UDP: one end has spoken alone.
    pub udp_single: Duration,
    /// UDP: both ends have spoken. RFC 4787, section 4.3 asks for 2 minutes at least.
    pub udp_stream: Duration,
    /// Echo of either ICMP.
    pub icmp: Duration,
    /// All other protocols.
    pub other: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_established: Duration::from_secs(8000),
            tcp_opening: Duration::from_secs(30),
            tcp_half_closed: Duration::from_secs(120),
            tcp_closing: Duration::from_secs(10),
            udp_single: Duration::from_secs(30),
            udp_stream: Duration::from_secs(180),
            icmp: Duration::from_secs(30),
            other: Duration::from_secs(60),
        }
    }
}

/// By how much unanswered flows are kept shorter while a table is nearly full.
const HASTE: u32 = 4;

/// The same in ticks, at hand for each of a million flows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks([[u32; State::ALL.len()]; PROTOCOLS.len()]);

/// One protocol of each kind, the last for all others.
const PROTOCOLS: [u8; 4] = [protocol::TCP, protocol::UDP, protocol::ICMP, u8::MAX];

impl Ticks {
    /// How long a flow is kept.
    pub(super) const fn of(&self, protocol: u8, state: State) -> u32 {
        let kind = match protocol {
            protocol::TCP => 0,
            protocol::UDP => 1,
            protocol::ICMP | protocol::ICMPV6 => 2,
            _ => 3,
        };
        self.0[kind][state as usize]
    }
}

impl Timeouts {
    /// In ticks, rounded up. While a table is `pressed` for room, a flow that nobody has answered has a quarter of its
    /// time; one that both ends use keeps all of it.
    pub(super) fn ticks(&self, pressed: bool) -> Ticks {
        Ticks(PROTOCOLS.map(|protocol| {
            State::ALL.map(|state| {
                let timeout = self.of(protocol, state);
                let timeout = if pressed && state.is_unanswered() { timeout / HASTE } else { timeout };
                // 2^32 ticks are a century.
                u32::try_from(timeout.as_nanos().div_ceil(1 << TICK_SHIFT)).unwrap_or(u32::MAX)
            })
        }))
    }

    const fn of(&self, protocol: u8, state: State) -> Duration {
        match (protocol, state) {
            (_, State::Opening) => self.tcp_opening,
            (_, State::Established) => self.tcp_established,
            (_, State::HalfClosed) => self.tcp_half_closed,
            (_, State::Closing) => self.tcp_closing,
            (protocol::UDP, State::Single) => self.udp_single,
            (protocol::UDP, State::Stream) => self.udp_stream,
            (protocol::ICMP | protocol::ICMPV6, _) => self.icmp,
            _ => self.other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_time() {
        let timeouts = Timeouts::default();
        for (protocol, state, secs) in [
            (6, State::Opening, 30),
            (6, State::Established, 8000),
            (6, State::HalfClosed, 120),
            (6, State::Closing, 10),
            (17, State::Single, 30),
            (17, State::Stream, 180),
            (1, State::Single, 30),
            (58, State::Stream, 30),
            (132, State::Stream, 60),
        ] {
            assert_eq!(timeouts.of(protocol, state), Duration::from_secs(secs), "{protocol} {state:?}");
        }
    }

    #[test]
    fn haste_is_for_the_unanswered() {
        let (ordinary, pressed) = (Timeouts::default().ticks(false), Timeouts::default().ticks(true));
        assert_eq!(ordinary.of(6, State::Opening), 28);
        assert_eq!(pressed.of(6, State::Opening), 7);
        assert_eq!(pressed.of(17, State::Single), 7);
        assert_eq!(pressed.of(6, State::Established), ordinary.of(6, State::Established));
        assert_eq!((pressed.of(17, State::Stream), pressed.of(58, State::Stream)), (168, 28));
        assert_eq!(pressed.of(132, State::Stream), 56);
    }
}

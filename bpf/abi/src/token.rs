//! What a packet carries through the shaper.

use crate::Direction;

/// The mark (`skb->mark`) of a packet of a limited pod, from the hook that sent it into the queue until it is out of
/// it. The kernel clears the mark of whatever crosses from one network namespace to another, so no pod can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u32);

impl Token {
    /// Tells a token from a mark that is none.
    const OURS: u32 = 1 << 31;
    /// For the pod, else from it.
    const INGRESS: u32 = 1 << 30;
    /// Cut into packets of the wire's size already.
    const CUT: u32 = 1 << 29;
    /// The time in microseconds, which turns over every nine minutes.
    const TIME: u32 = Self::CUT - 1;

    /// A packet that enters the queue at this time (`CLOCK_MONOTONIC` in nanoseconds).
    #[inline(always)]
    pub const fn new(direction: Direction, now_ns: u64) -> Self {
        let ingress = match direction {
            Direction::Egress => 0,
            Direction::Ingress => Self::INGRESS,
        };
        Self(Self::OURS | ingress | micros(now_ns))
    }

    /// The token that a packet with this mark has.
    #[inline(always)]
    pub const fn of(mark: u32) -> Option<Self> {
        if mark & Self::OURS == 0 { None } else { Some(Self(mark)) }
    }

    /// The packet's mark.
    #[inline(always)]
    pub const fn mark(self) -> u32 {
        self.0
    }

    /// Whose limit it is about.
    #[inline(always)]
    pub const fn direction(self) -> Direction {
        if self.0 & Self::INGRESS == 0 { Direction::Egress } else { Direction::Ingress }
    }

    /// Whether the packet has been cut.
    #[inline(always)]
    pub const fn is_cut(self) -> bool {
        self.0 & Self::CUT != 0
    }

    /// The token of a packet that has been cut.
    #[inline(always)]
    #[must_use]
    pub const fn cut(self) -> Self {
        Self(self.0 | Self::CUT)
    }

    /// How long the packet has been under way since it entered, in nanoseconds.
    #[inline(always)]
    pub const fn age_ns(self, now_ns: u64) -> u64 {
        let micros = micros(now_ns).wrapping_sub(self.0) & Self::TIME;
        micros as u64 * 1000
    }
}

/// As much of the time as a token holds.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "what is cut off was masked out")]
const fn micros(now_ns: u64) -> u32 {
    ((now_ns / 1000) & Token::TIME as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_age_and_direction() {
        for direction in Direction::ALL {
            // The clock turns over meanwhile.
            let entered = u64::from(Token::TIME) * 1000 - 2_000_000;
            let token = Token::of(Token::new(direction, entered).mark()).unwrap();
            assert_eq!((token.direction(), token.is_cut()), (direction, false));
            assert_eq!(token.age_ns(entered + 5_000_000), 5_000_000);
            assert_eq!((token.cut().is_cut(), token.cut().age_ns(entered + 7000)), (true, 7000));
            assert_eq!(token.cut().direction(), direction);
        }
        assert_eq!(Token::of(0x2000_0001), None);
    }
}

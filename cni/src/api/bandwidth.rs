//! How fast a pod may be.

use serde::{Deserialize, Serialize};

/// The limits of a pod, seen from the pod; each direction by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bandwidth {
    /// Of what the pod is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<RateLimit>,
    /// Of what the pod sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<RateLimit>,
}

impl Bandwidth {
    /// Whether neither direction is limited.
    pub const fn is_unlimited(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// A limit in one direction. It counts the bytes of IP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Bits a second, not 0.
    pub rate: u64,
    /// Bits that may be sent at once after a pause; 0 for what suits the rate.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub burst: u64,
}

impl RateLimit {
    /// The smallest rate, in bits a second: below it a single packet takes more than ten seconds. Kubernetes draws the
    /// same line.
    pub const MIN_RATE: u64 = 1000;
    /// The largest rate, in bits a second. Kubernetes draws the same line.
    pub const MAX_RATE: u64 = 1_000_000_000_000_000;
    /// The largest burst in bits: 4 GiB, as the reference plugin has it.
    pub const MAX_BURST: u64 = 8 * u32::MAX as u64;

    /// Whether such a limit can be held.
    ///
    /// # Errors
    /// Its rate or its burst is out of range.
    pub const fn check(&self) -> Result<(), RateError> {
        let Self { rate, burst } = *self;
        if rate < Self::MIN_RATE {
            Err(RateError::Slow { rate })
        } else if rate > Self::MAX_RATE {
            Err(RateError::Fast { rate })
        } else if burst > Self::MAX_BURST {
            Err(RateError::Burst { burst })
        } else {
            Ok(())
        }
    }
}

/// A limit that cannot be held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Less than [`RateLimit::MIN_RATE`].
    #[error("{rate} bit/s is too slow: give at least {} bit/s, or no limit", RateLimit::MIN_RATE)]
    Slow {
        /// Bits a second.
        rate: u64,
    },
    /// More than [`RateLimit::MAX_RATE`].
    #[error("{rate} bit/s is too fast: give at most {} bit/s, or no limit", RateLimit::MAX_RATE)]
    Fast {
        /// Bits a second.
        rate: u64,
    },
    /// More than [`RateLimit::MAX_BURST`].
    #[error("{burst} bits are too many: give at most {} bits, or 0 for what suits the rate", RateLimit::MAX_BURST)]
    Burst {
        /// Bits.
        burst: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(burst: &u64) -> bool {
    *burst == 0
}

/// What came of a limit since it was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitCounters {
    /// Packets that were let through; a GSO packet counts once, here and below.
    pub sent_packets: u64,
    /// Their bytes, as IP packets.
    pub sent_bytes: u64,
    /// Packets among them that waited for more than a millisecond.
    pub delayed_packets: u64,
    /// Time in nanoseconds that packets waited, all together.
    pub delay_ns: u64,
    /// Packets that were marked (ECN) because the queue was long.
    pub marked_packets: u64,
    /// Packets that found the queue full.
    pub dropped_packets: u64,
}

/// Both directions' counters; a direction without limit has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitUse {
    /// Of what the pod is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<LimitCounters>,
    /// Of what the pod sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<LimitCounters>,
}

//! The `bandwidth` capability, as the reference plugin of that name takes it: bits a second, and bits.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::{self, RateError, RateLimit};
use crate::spec::runtime_config::or_default;

/// What runtimes send for a burst that nobody asked for: `math.MaxInt32` or `math.MaxUint32`.
const NO_BURST: u64 = (1 << 31) - 1;

/// Runtimes that encode Go structures without tags begin the names with a capital.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Bandwidth {
    #[serde(alias = "IngressRate", deserialize_with = "bits")]
    ingress_rate: u64,
    #[serde(alias = "IngressBurst", deserialize_with = "bits")]
    ingress_burst: u64,
    #[serde(alias = "EgressRate", deserialize_with = "bits")]
    egress_rate: u64,
    #[serde(alias = "EgressBurst", deserialize_with = "bits")]
    egress_burst: u64,
    /// Limits for some destinations alone.
    #[serde(alias = "UnshapedSubnets", deserialize_with = "or_default")]
    unshaped_subnets: Vec<Value>,
    #[serde(alias = "ShapedSubnets", deserialize_with = "or_default")]
    shaped_subnets: Vec<Value>,
}

/// The capability contradicts itself, or asks for what cannot be held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BandwidthError {
    #[error("{direction}Burst is {burst} bits, but {direction}Rate is 0: give a rate in bits a second, or no burst")]
    BurstAlone { direction: &'static str, burst: u64 },
    #[error("{direction}{}: {source}", field(.source))]
    Rate { direction: &'static str, source: RateError },
}

impl Bandwidth {
    /// The limits; a rate of 0 is none.
    pub(crate) fn limits(&self) -> Result<api::Bandwidth, BandwidthError> {
        Ok(api::Bandwidth {
            ingress: limit("ingress", self.ingress_rate, self.ingress_burst)?,
            egress: limit("egress", self.egress_rate, self.egress_burst)?,
        })
    }

    /// Name and value of a key that is not acted on.
    pub(crate) fn unsupported(&self) -> Option<(&'static str, Value)> {
        let keys = [("unshapedSubnets", &self.unshaped_subnets), ("shapedSubnets", &self.shaped_subnets)];
        let (key, subnets) = keys.into_iter().find(|(_, subnets)| !subnets.is_empty())?;
        Some((key, subnets.clone().into()))
    }
}

fn limit(direction: &'static str, rate: u64, burst: u64) -> Result<Option<RateLimit>, BandwidthError> {
    let burst = if burst >= NO_BURST { 0 } else { burst };
    match (rate, burst) {
        (0, 0) => Ok(None),
        (0, burst) => Err(BandwidthError::BurstAlone { direction, burst }),
        _ => {
            let limit = RateLimit { rate, burst };
            limit.check().map_err(|source| BandwidthError::Rate { direction, source })?;
            Ok(Some(limit))
        }
    }
}

const fn field(error: &RateError) -> &'static str {
    match error {
        RateError::Slow { .. } | RateError::Fast { .. } => "Rate",
        RateError::Burst { .. } => "Burst",
    }
}

fn bits<'de, D: Deserializer<'de>>(source: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(source)?;
    if value.is_null() {
        return Ok(0);
    }
    value.as_u64().ok_or_else(|| {
        serde::de::Error::custom(format!("{value} is no number of bits: write a whole one, 0 for no limit"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<api::Bandwidth, String> {
        let written: Bandwidth = serde_json::from_value(value).map_err(|error| error.to_string())?;
        written.limits().map_err(|error| error.to_string())
    }

    #[test]
    fn what_runtimes_write_is_understood() {
        let limit = |rate, burst| Some(RateLimit { rate, burst });
        for (written, ingress, egress) in [
            (json!({}), None, None),
            (json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": null}), None, None),
            (json!({"ingressRate": 1_000_000, "ingressBurst": 80_000}), limit(1_000_000, 80_000), None),
            (
                json!({"IngressRate": 0, "IngressBurst": 0, "EgressRate": 5_000_000, "EgressBurst": 4_294_967_295_u64}),
                None,
                limit(5_000_000, 0),
            ),
            (json!({"egressRate": 1000, "egressBurst": 2_147_483_647}), None, limit(1000, 0)),
            (json!({"ingressBurst": 2_147_483_647}), None, None),
            (json!({"ingressRate": 8000, "unshapedSubnets": [], "shapedSubnets": null}), limit(8000, 0), None),
        ] {
            assert_eq!(parse(written.clone()), Ok(api::Bandwidth { ingress, egress }), "{written}");
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_units() {
        for (written, parts) in [
            (json!({"ingressRate": -1}), ["-1", "bits"]),
            (json!({"ingressRate": 1.5}), ["1.5", "bits"]),
            (json!({"egressRate": "10M"}), ["10M", "bits"]),
            (json!({"egressRate": 18_446_744_073_709_551_616_f64}), ["1.8446744073709552e+19", "bits"]),
            (json!({"egressBurst": 5000}), ["egressBurst is 5000 bits", "egressRate"]),
            (json!({"ingressRate": 7}), ["ingressRate: 7 bit/s", "1000 bit/s"]),
            (json!({"egressRate": u64::MAX}), ["egressRate: 18446744073709551615 bit/s", "bit/s"]),
            (json!({"egresRate": 5000}), ["egresRate", "egressRate"]),
        ] {
            let error = parse(written.clone()).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{written}: {error}");
        }
    }

    #[test]
    fn limits_for_some_destinations_alone_are_told_as_what_they_are() {
        let written: Bandwidth = serde_json::from_value(json!({"unshapedSubnets": ["10.0.0.0/8"]})).unwrap();
        assert_eq!(written.unsupported(), Some(("unshapedSubnets", json!(["10.0.0.0/8"]))));
    }
}

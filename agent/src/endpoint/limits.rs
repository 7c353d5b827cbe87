//! Limits of endpoints: changed while they live, and shown with what came of them.

use weft_abi::Limit;
use weft_cni::api::{AttachmentKey, Bandwidth, EndpointInfo, EndpointSpec, RateLimit};
use weft_cni::link::host_ifname;

use crate::kernel::Kernel;
use crate::text;

use super::error::show;
use super::spec::check_bandwidth;
use super::{EndpointError, Endpoints, Record};

impl<K: Kernel> Endpoints<K> {
    /// Gives an endpoint other limits: on disk first, then in the kernel; back to the old ones when the kernel refuses.
    pub(crate) async fn set_bandwidth(
        &self,
        key: &AttachmentKey,
        bandwidth: Bandwidth,
    ) -> Result<EndpointInfo, EndpointError> {
        check_bandwidth(bandwidth)?;
        let _turn = self.locks.acquire(&host_ifname(key)).await;
        let before = self.find(key).ok_or_else(|| EndpointError::NotFound { key: key.clone() })?;
        let spec = before.endpoint.clone().ok_or_else(|| EndpointError::NotReady { key: key.clone() })?;
        let spec = EndpointSpec { bandwidth, ..spec };
        warn_of_small_bursts(key, &spec);
        let after = Record { endpoint: Some(spec), ..before.clone() };
        self.store.write(&after)?;
        self.put(after.clone());
        match self.apply_limits(&after).await {
            Ok(()) => {
                log::info!("{}: limits are {}", show(key), describe(bandwidth));
                Ok(self.info(&after))
            }
            Err(error) => {
                self.take_back(before).await;
                Err(error)
            }
        }
    }

    async fn apply_limits(&self, record: &Record) -> Result<(), EndpointError> {
        let Some(endpoint) = record.endpoint() else { return Ok(()) };
        let limited = self.kernel.limit(&endpoint).await;
        limited.map_err(|source| EndpointError::Limit { key: record.key.clone(), source: source.into() })
    }

    /// Should this fail as well, the timer finds the kernel other than the record, and mends it.
    async fn take_back(&self, before: Record) {
        if let Err(error) = self.store.write(&before) {
            log::warn!("{}", text::chain(&error));
        }
        self.put(before.clone());
        if let Err(error) = self.apply_limits(&before).await {
            log::warn!("{}", text::chain(&error));
        }
    }

    /// What the API tells of an attachment.
    pub(super) fn info(&self, record: &Record) -> EndpointInfo {
        let info = record.info();
        let limited = record.endpoint.as_ref().is_some_and(|spec| !spec.bandwidth.is_unlimited());
        if !limited {
            return info;
        }
        let limits = self.kernel.limit_use(record.id).unwrap_or_else(|error| {
            log::warn!("{}: {}", show(&record.key), text::chain(&error));
            None
        });
        EndpointInfo { limits, ..info }
    }
}

/// With a burst below some packets, or below what flows while a timer is late, the rate would not be reached: the
/// smallest one that will do is taken in its place.
pub(super) fn warn_of_small_bursts(key: &AttachmentKey, spec: &EndpointSpec) {
    for (direction, limit) in [("ingress", spec.bandwidth.ingress), ("egress", spec.bandwidth.egress)] {
        let Some(RateLimit { rate, burst: burst @ 1.. }) = limit else { continue };
        let least = least_burst(rate, spec.mtu);
        if burst < least {
            log::warn!(
                "{}: {direction} burst of {burst} bits is too small for {rate} bit/s: {least} bits are taken",
                show(key)
            );
        }
    }
}

/// Bits.
fn least_burst(rate: u64, mtu: u32) -> u64 {
    let limit = Limit { rate: rate / 8, ..Limit::default() };
    let bits = u128::from(limit.least_burst_ns(mtu.into())) * u128::from(rate) / 1_000_000_000;
    u64::try_from(bits).unwrap_or(u64::MAX)
}

fn describe(bandwidth: Bandwidth) -> String {
    let one = |limit: Option<RateLimit>| limit.map_or("none".to_owned(), |limit| format!("{} bit/s", limit.rate));
    format!("ingress {}, egress {}", one(bandwidth.ingress), one(bandwidth.egress))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_holds_some_packets_and_a_late_timer() {
        assert_eq!(least_burst(1_000_000, 1500), 48_000);
        assert_eq!(least_burst(1_000_000_000, 1500), 5_000_000);
        assert_eq!(least_burst(RateLimit::MAX_RATE, 65535), 5_000_000_000_000);
    }
}

//! `weft endpoint set-rate`, and limits in words.

use std::time::Instant;

use weft_cni::api::{Bandwidth, EndpointInfo, LimitCounters, RateLimit};
use weft_cni::client::Client;
use weft_cni::path;

use super::args::RateArgs;
use super::bits::{Bits, show};
use super::endpoint::find;
use super::error::CliError;
use super::output::Output;
use super::{PATIENCE, get};

/// Changes what is named on the command line and leaves the rest.
pub(super) fn set(client: &mut Client, output: &Output, args: &RateArgs) -> Result<(), CliError> {
    let endpoints: Vec<EndpointInfo> = get(client, "/v1/endpoints")?;
    let endpoint = find(&endpoints, &args.name)?;
    let now = endpoint.endpoint.as_ref().map(|spec| spec.bandwidth).unwrap_or_default();
    let wanted = Bandwidth {
        ingress: merge("ingress", now.ingress, args.ingress, args.ingress_burst)?,
        egress: merge("egress", now.egress, args.egress, args.egress_burst)?,
    };
    let path = format!("{}/bandwidth", path::attachment(&endpoint.key));
    let after: EndpointInfo = client.put(&path, &wanted, Instant::now() + PATIENCE)?;
    if output.is_json() {
        return Ok(Output::json(&after)?);
    }
    let after = after.endpoint.map(|spec| spec.bandwidth).unwrap_or_default();
    Ok(Output::line(&format!("ingress {}, egress {}", limit(after.ingress), limit(after.egress)))?)
}

/// A new rate comes with a burst that suits it, unless one is named; `off` as a burst means the same.
fn merge(
    direction: &'static str,
    now: Option<RateLimit>,
    rate: Option<Bits>,
    burst: Option<Bits>,
) -> Result<Option<RateLimit>, CliError> {
    let burst = burst.map(|burst| burst.0.unwrap_or(0));
    match (rate, now) {
        (Some(Bits(None | Some(0))), _) => match burst {
            Some(_) => Err(CliError::BurstAlone { direction }),
            None => Ok(None),
        },
        (Some(Bits(Some(rate))), _) => Ok(Some(RateLimit { rate, burst: burst.unwrap_or(0) })),
        (None, Some(now)) => Ok(Some(RateLimit { burst: burst.unwrap_or(now.burst), ..now })),
        (None, None) if burst.is_some() => Err(CliError::BurstAlone { direction }),
        (None, None) => Ok(None),
    }
}

/// A limit in words.
pub(super) fn limit(limit: Option<RateLimit>) -> String {
    match limit {
        None => "unlimited".to_owned(),
        Some(RateLimit { rate, burst: 0 }) => format!("{}/s", show(rate)),
        Some(RateLimit { rate, burst }) => format!("{}/s, burst {}", show(rate), show(burst)),
    }
}

/// A limit and what came of it, in a few words.
pub(super) fn brief(limit: Option<RateLimit>, counters: Option<LimitCounters>) -> String {
    let Some(limit) = limit else { return "-".to_owned() };
    let rate = format!("{}/s", show(limit.rate));
    counters.map_or(rate.clone(), |LimitCounters { sent_packets, delayed_packets, dropped_packets, .. }| {
        format!("{rate}: {sent_packets} sent, {delayed_packets} delayed, {dropped_packets} dropped")
    })
}

/// What came of a limit, whole.
pub(super) fn counters(counters: &LimitCounters) -> String {
    let LimitCounters { sent_packets, sent_bytes, delayed_packets, delay_ns, marked_packets, dropped_packets } =
        counters;
    let mean = delay_ns.checked_div(*sent_packets).unwrap_or(0) / 1000;
    format!(
        "{sent_packets} packets ({sent_bytes} bytes) sent, {delayed_packets} delayed ({mean} µs on average), \
         {marked_packets} marked, {dropped_packets} dropped"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let bits = |text: &str| (!text.is_empty()).then(|| text.parse::<Bits>().unwrap());
        let some = |rate, burst| Some(RateLimit { rate, burst });
        let now = some(1000, 9000);
        for (now, rate, burst, after) in [
            (now, "", "", now),
            (now, "2k", "", some(2000, 0)),
            (now, "2k", "8k", some(2000, 8000)),
            (now, "", "8k", some(1000, 8000)),
            (now, "", "off", some(1000, 0)),
            (now, "off", "", None),
            (now, "0", "", None),
            (None, "", "", None),
            (None, "2k", "", some(2000, 0)),
        ] {
            assert_eq!(merge("egress", now, bits(rate), bits(burst)).unwrap(), after, "{rate} {burst}");
        }
        for (now, rate) in [(now, "off"), (None, ""), (None, "0")] {
            let error = merge("egress", now, bits(rate), bits("8k")).unwrap_err();
            assert!(error.to_string().contains("--egress"), "{error}");
        }
    }

    #[test]
    fn limits_are_told_with_units() {
        let ten = Some(RateLimit { rate: 10_000_000, burst: 64_000 });
        assert_eq!(limit(ten), "10 Mbit/s, burst 64 kbit");
        assert_eq!((limit(None), brief(None, None)), ("unlimited".to_owned(), "-".to_owned()));
        let count = LimitCounters {
            sent_packets: 4,
            sent_bytes: 6000,
            delayed_packets: 2,
            delay_ns: 8_000_000,
            marked_packets: 0,
            dropped_packets: 1,
        };
        assert_eq!(brief(ten, Some(count)), "10 Mbit/s: 4 sent, 2 delayed, 1 dropped");
        assert!(counters(&count).starts_with("4 packets (6000 bytes) sent, 2 delayed (2000 µs on average)"));
        assert!(counters(&LimitCounters::default()).contains("(0 µs on average)"));
    }
}

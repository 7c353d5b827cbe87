//! How long a silent flow is remembered.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::flow::Timeouts;

use super::ConfigError;

/// A silent month is no flow any more, and every sum of times stays far from its type's end.
const MAX_SECONDS: u32 = 30 * 86400;

/// Settings as they were given, by whichever way.
#[derive(Clone, Copy, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::struct_field_names, reason = "flags and keys have the fields' names")]
pub(super) struct TimeoutSettings {
    /// Seconds after which a silent TCP connection is forgotten [default: 8000]
    #[arg(long, value_name = "SECONDS", env = "WEFT_TIMEOUT_TCP_ESTABLISHED")]
    timeout_tcp_established: Option<u32>,
    /// The same, while its handshake is not over [default: 30]
    #[arg(long, value_name = "SECONDS", env = "WEFT_TIMEOUT_TCP_OPENING")]
    timeout_tcp_opening: Option<u32>,
    /// The same, once both ends have closed it or one has reset it [default: 10]
    #[arg(long, value_name = "SECONDS", env = "WEFT_TIMEOUT_TCP_CLOSING")]
    timeout_tcp_closing: Option<u32>,
    /// The same, once one end has closed it [default: 120]
    #[arg(long, value_name = "SECONDS", env = "WEFT_TIMEOUT_TCP_HALF_CLOSED")]
    timeout_tcp_half_closed: Option<u32>,
    /// Seconds after which UDP that nobody answered is forgotten [default: 30]
    #[arg(long, value_name = "SECONDS", env = "WEFT_TIMEOUT_UDP_SINGLE")]
    timeout_udp_single: Option<u32>,
    /// The same for UDP that was answered [default: 180]
    #[arg(long, value_name = "SECONDS", env = "WEFT_TIMEOUT_UDP_STREAM")]
    timeout_udp_stream: Option<u32>,
    /// The same for ICMP echo [default: 30]
    #[arg(long, value_name = "SECONDS", env = "WEFT_TIMEOUT_ICMP")]
    timeout_icmp: Option<u32>,
    /// The same for every other protocol [default: 60]
    #[arg(long, value_name = "SECONDS", env = "WEFT_TIMEOUT_OTHER")]
    timeout_other: Option<u32>,
}

impl TimeoutSettings {
    /// These settings, and for what they leave open the `other` ones.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            timeout_tcp_established: self.timeout_tcp_established.or(other.timeout_tcp_established),
            timeout_tcp_opening: self.timeout_tcp_opening.or(other.timeout_tcp_opening),
            timeout_tcp_closing: self.timeout_tcp_closing.or(other.timeout_tcp_closing),
            timeout_tcp_half_closed: self.timeout_tcp_half_closed.or(other.timeout_tcp_half_closed),
            timeout_udp_single: self.timeout_udp_single.or(other.timeout_udp_single),
            timeout_udp_stream: self.timeout_udp_stream.or(other.timeout_udp_stream),
            timeout_icmp: self.timeout_icmp.or(other.timeout_icmp),
            timeout_other: self.timeout_other.or(other.timeout_other),
        }
    }

    pub(super) fn into_config(self) -> Result<Timeouts, ConfigError> {
        let default = Timeouts::default();
        Ok(Timeouts {
            tcp_established: seconds("timeout-tcp-established", self.timeout_tcp_established, default.tcp_established)?,
            tcp_opening: seconds("timeout-tcp-opening", self.timeout_tcp_opening, default.tcp_opening)?,
            tcp_closing: seconds("timeout-tcp-closing", self.timeout_tcp_closing, default.tcp_closing)?,
            tcp_half_closed: seconds("timeout-tcp-half-closed", self.timeout_tcp_half_closed, default.tcp_half_closed)?,
            udp_single: seconds("timeout-udp-single", self.timeout_udp_single, default.udp_single)?,
            udp_stream: seconds("timeout-udp-stream", self.timeout_udp_stream, default.udp_stream)?,
            icmp: seconds("timeout-icmp", self.timeout_icmp, default.icmp)?,
            other: seconds("timeout-other", self.timeout_other, default.other)?,
        })
    }
}

fn seconds(field: &'static str, given: Option<u32>, default: Duration) -> Result<Duration, ConfigError> {
    match given {
        None => Ok(default),
        Some(given @ 1..=MAX_SECONDS) => Ok(Duration::from_secs(given.into())),
        Some(given) => Err(ConfigError::Number { field, given, least: 1, most: MAX_SECONDS }),
    }
}

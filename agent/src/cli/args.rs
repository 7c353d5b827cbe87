//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};

use crate::flow::{State, protocol};
use crate::run_dir::RunDir;

use super::bits::Bits;
use super::connectivity::ConnectivityVerb;

/// Looks at weft's agent on this node and at its datapath.
#[derive(Debug, Parser)]
#[command(name = "weft", version)]
pub(super) struct Args {
    /// The agent's run directory
    #[arg(long, value_name = "DIR", env = "WEFT_RUN_DIR", default_value = RunDir::DEFAULT, global = true)]
    pub(super) run_dir: PathBuf,
    /// How to show the answer
    #[arg(short, long, value_enum, default_value_t = Format::Table, global = true)]
    pub(super) output: Format,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Whether the agent serves, and what is wrong; exit code 0 when ready, 1 when not
    Status {
        /// Wait until it is ready, for at most so many seconds [default: 60]
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
        wait: Option<u64>,
    },
    /// Pods that are joined to the network
    #[command(subcommand)]
    Endpoint(EndpointVerb),
    /// Ports of the node that are pods'
    #[command(subcommand)]
    Port(PortVerb),
    /// Other nodes
    #[command(subcommand)]
    Peer(PeerVerb),
    /// The datapath's maps
    #[command(subcommand)]
    Map(MapVerb),
    /// Flows that the node keeps track of
    #[command(subcommand)]
    Flow(FlowVerb),
    /// Pods' packets that leave in the node's name
    #[command(subcommand)]
    Nat(NatVerb),
    /// Follows packets through the datapath, until interrupted: what each hook decided, and why
    Trace(TraceArgs),
    /// Dropped packets: how many, why, and the newest ones
    Drops {
        /// Show drops as they happen, until interrupted
        #[arg(short, long)]
        follow: bool,
    },
    /// Servers and clients for tests on a cluster
    #[command(subcommand, hide = true)]
    Connectivity(ConnectivityVerb),
}

#[derive(Debug, Subcommand)]
pub(super) enum EndpointVerb {
    /// All of them, oldest first
    List,
    /// One of them, whole
    Get {
        /// Its number, an address, the pod as [NAMESPACE/]NAME, or CONTAINER[/IFNAME]; a container id may be cut short
        #[arg(value_name = "WHICH")]
        name: String,
    },
    /// Limits how fast one of them may be, from now on
    SetRate(RateArgs),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct RateArgs {
    /// As for `weft endpoint get`
    #[arg(value_name = "ENDPOINT")]
    pub(super) name: String,
    /// What it may be sent: bits a second, like 500k, 10M, 1.5G or 1Gi, or `off`
    #[arg(long, value_name = "RATE", group = "change")]
    pub(super) ingress: Option<Bits>,
    /// What it may send
    #[arg(long, value_name = "RATE", group = "change")]
    pub(super) egress: Option<Bits>,
    /// What it may be sent at once after a pause: bits, or `off` for what suits the rate
    #[arg(long, value_name = "BITS", group = "change")]
    pub(super) ingress_burst: Option<Bits>,
    /// What it may send at once after a pause
    #[arg(long, value_name = "BITS", group = "change")]
    pub(super) egress_burst: Option<Bits>,
}

#[derive(Debug, Subcommand)]
pub(super) enum PortVerb {
    /// All of them, by port, and where they lead
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum PeerVerb {
    /// All of them, by name, and how packets get there
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum MapVerb {
    /// All of them, and how full they are
    List,
    /// What a map holds
    Dump {
        /// The map's name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum FlowVerb {
    /// Those that match
    List(FlowArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct FlowArgs {
    /// Of this pod: an address, or what `weft endpoint get` takes
    #[arg(long, value_name = "WHICH")]
    pub(super) pod: Option<String>,
    /// In this state: opening, established, half-closed, closing, single or stream
    #[arg(long, value_parser = state)]
    pub(super) state: Option<State>,
    /// Begun longer ago than this: seconds, or with s, m, h or d behind
    #[arg(long, value_name = "AGE")]
    pub(super) older_than: Option<Age>,
    /// Begun less long ago than this
    #[arg(long, value_name = "AGE")]
    pub(super) younger_than: Option<Age>,
    /// Of this protocol: tcp, udp, icmp, icmpv6, sctp or a number
    #[arg(long)]
    pub(super) proto: Option<Proto>,
    /// At most so many [default: 10000]
    #[arg(long, value_name = "COUNT")]
    pub(super) limit: Option<usize>,
}

#[derive(Debug, Subcommand)]
pub(super) enum NatVerb {
    /// All of them, how full the tables are, and destinations towards which ports ran out
    List {
        /// At most so many [default: 10000]
        #[arg(long, value_name = "COUNT")]
        limit: Option<usize>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct TraceArgs {
    /// Packets from or to this address; twice: between the two
    #[arg(long, value_name = "ADDRESS")]
    pub(super) addr: Vec<IpAddr>,
    /// Packets from or to this port
    #[arg(long)]
    pub(super) port: Option<u16>,
    /// Packets of this protocol: tcp, udp, icmp, icmpv6, sctp or a number
    #[arg(long)]
    pub(super) proto: Option<Proto>,
}

/// An IP protocol by name or number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proto(pub(super) u8);

impl FromStr for Proto {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        protocol::number(text).map(Self).ok_or("not tcp, udp, icmp, icmpv6, sctp or a number up to 255")
    }
}

/// A time in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age(pub(super) u64);

impl FromStr for Age {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
        let unit = units.iter().find_map(|(unit, secs)| Some((text.strip_suffix(unit)?, *secs)));
        let (number, secs) = unit.unwrap_or((text, 1));
        let age = number.parse::<u64>().ok().and_then(|number| number.checked_mul(secs));
        age.map(Self).ok_or("not a number of seconds, or one with s, m, h or d behind, like 90s or 2h")
    }
}

fn state(name: &str) -> Result<State, String> {
    let names = State::ALL.map(State::name).join(", ");
    State::from_name(name).ok_or_else(|| format!("not one of {names}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_rate_is_changed_by_naming_what_changes() {
        let parse = |words: &str| Args::try_parse_from(words.split(' '));
        assert!(parse("weft endpoint set-rate web").is_err(), "nothing to change");
        assert!(parse("weft endpoint set-rate web --egress fast").is_err());
        let args = parse("weft endpoint set-rate web --ingress 10M --egress off --ingress-burst 1M").unwrap();
        let Verb::Endpoint(EndpointVerb::SetRate(rate)) = args.verb else { unreachable!() };
        assert_eq!((rate.ingress, rate.egress), (Some(Bits(Some(10_000_000))), Some(Bits(None))));
        assert_eq!((rate.ingress_burst, rate.egress_burst), (Some(Bits(Some(1_000_000))), None));
    }

    #[test]
    fn ages_have_units() {
        for (text, secs) in [("90", 90), ("90s", 90), ("2m", 120), ("2h", 7200), ("1d", 86400)] {
            assert_eq!(text.parse(), Ok(Age(secs)), "{text}");
        }
        for text in ["", "s", "1w", "-1", "18446744073709551615d"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}

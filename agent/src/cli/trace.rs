//! `weft trace`.

use weft_cni::api::Traced;
use weft_cni::client::Client;

use super::args::TraceArgs;
use super::error::CliError;
use super::flow::socket;
use super::output::{Output, time_of_day};
use super::stream;

/// A line for each hook that a packet of the flow comes to, until interrupted.
pub(super) fn follow(client: &Client, output: &Output, args: &TraceArgs) -> Result<(), CliError> {
    let mut query: Vec<String> = args.addr.iter().map(|addr| format!("address={addr}")).collect();
    query.extend(args.port.iter().map(|port| format!("port={port}")));
    query.extend(args.proto.iter().map(|proto| format!("protocol={}", proto.0)));
    stream::follow(client, output, &format!("/v1/trace?{}", query.join("&")), &HEADINGS, &WIDTHS, fields)
}

const HEADINGS: [&str; 7] = ["TIME", "HOOK", "DEVICE", "PROTO", "PACKET", "BYTES", "VERDICT"];

/// Widths that most values fit: nobody knows the rows to come.
const WIDTHS: [usize; 6] = [15, 12, 15, 6, 45, 5];

fn fields(traced: &Traced) -> [String; 7] {
    [
        time_of_day(traced.time_us),
        traced.hook.clone(),
        traced.device.clone(),
        traced.protocol.clone(),
        format!("{} -> {}", socket(&traced.src), socket(&traced.dst)),
        traced.len.to_string(),
        format!("{}: {}", traced.reason, traced.meaning),
    ]
}

#[cfg(test)]
mod tests {
    use weft_cni::api::Socket;

    use super::super::output::align;
    use super::*;

    #[test]
    fn a_packet_fits_a_line() {
        let traced = Traced {
            time_us: 1_763_697_000_042_007,
            hook: "to_netdev".into(),
            device: "eth0".into(),
            src: Socket { address: [192, 0, 2, 1].into(), port: Some(40000) },
            dst: Socket { address: [198, 51, 100, 7].into(), port: Some(443) },
            protocol: "tcp".into(),
            len: 74,
            reason: "translated".into(),
            meaning: "The source became the node's.".into(),
            drop: false,
        };
        let line = align(&fields(&traced), &WIDTHS);
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "03:50:00.042007 to_netdev eth0 tcp 192.0.2.1:40000 -> 198.51.100.7:443 74 translated: The source became \
             the node's."
        );
    }
}

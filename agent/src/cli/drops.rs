//! `weft drops`.

use std::net::IpAddr;

use weft_cni::api::{AttachmentKey, Drop as DropRecord, Drops};
use weft_cni::client::Client;

use super::error::CliError;
use super::output::{Output, time_of_day};
use super::{get, stream};

pub(super) fn list(client: &mut Client, output: &Output) -> Result<(), CliError> {
    let drops: Drops = get(client, "/v1/drops")?;
    if output.is_json() {
        return Ok(Output::json(&drops)?);
    }
    let mut counters = output.new_table(&["REASON", "DIRECTION", "PACKETS", "BYTES"]);
    for count in drops.counters.iter().filter(|count| count.drop) {
        let figures = (count.packets.to_string(), count.bytes.to_string());
        counters.add_row([&count.reason, &count.direction, &figures.0, &figures.1]);
    }
    Output::table(counters)?;
    if drops.recent.is_empty() {
        return Ok(());
    }
    Output::line("")?;
    let mut recent = output.new_table(&HEADINGS);
    for drop in &drops.recent {
        recent.add_row(fields(drop));
    }
    Ok(Output::table(recent)?)
}

/// A line for each drop as it happens.
pub(super) fn follow(client: &Client, output: &Output) -> Result<(), CliError> {
    stream::follow(client, output, "/v1/drops?follow=true", &HEADINGS, &WIDTHS, fields)
}

const HEADINGS: [&str; 8] = ["TIME", "REASON", "DIRECTION", "SOURCE", "DESTINATION", "PROTOCOL", "BYTES", "ENDPOINT"];

/// Widths that most values fit: nobody knows the rows to come.
const WIDTHS: [usize; 7] = [12, 12, 9, 20, 20, 10, 6];

fn fields(drop: &DropRecord) -> [String; 8] {
    let end = |addr: Option<IpAddr>, mac: String| addr.map_or(mac, |addr| addr.to_string());
    [
        time_of_day(drop.time_ms * 1000)[..12].to_owned(),
        drop.reason.clone(),
        drop.direction.clone(),
        end(drop.src, drop.src_mac.to_string()),
        end(drop.dst, drop.dst_mac.to_string()),
        protocol(drop),
        drop.len.to_string(),
        drop.endpoint.as_ref().map_or_else(|| format!("ifindex {}", drop.ifindex), endpoint),
    ]
}

fn endpoint(key: &AttachmentKey) -> String {
    format!("{}/{}", key.container_id, key.ifname)
}

/// The names that people know; numbers for the rest. IANA's "Protocol Numbers" and "IEEE 802 Numbers".
fn protocol(drop: &DropRecord) -> String {
    let name = match (drop.ethertype, drop.protocol) {
        // Options before whatever protocol; multicast listener reports, most often.
        (0x86dd, 0) => "hop-by-hop",
        (0x0800 | 0x86dd, 1 | 58) => "icmp",
        (0x0800 | 0x86dd, 2) => "igmp",
        (0x0800 | 0x86dd, 6) => "tcp",
        (0x0800 | 0x86dd, 17) => "udp",
        (0x0800 | 0x86dd, 132) => "sctp",
        (0x0800 | 0x86dd, number) => return format!("ip {number}"),
        (0x0806, _) => "arp",
        (ethertype, _) => return format!("{ethertype:#06x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::output::align;
    use super::*;

    #[test]
    fn a_drop_fits_a_line() {
        let drop = DropRecord {
            time_ms: 1_763_697_000_042,
            reason: "source-mac".into(),
            direction: "egress".into(),
            ifindex: 7,
            endpoint: None,
            src: Some([10, 0, 0, 2].into()),
            dst: None,
            src_mac: "02:00:5e:10:00:01".parse().unwrap(),
            dst_mac: "02:00:5e:10:00:02".parse().unwrap(),
            ethertype: 0x86dd,
            protocol: 58,
            len: 86,
        };
        let line = align(&fields(&drop), &WIDTHS);
        let words: Vec<_> = line.split_whitespace().collect();
        let expected =
            ["03:50:00.042", "source-mac", "egress", "10.0.0.2", "02:00:5e:10:00:02", "icmp", "86", "ifindex", "7"];
        assert_eq!(words, expected);
        assert_eq!(protocol(&DropRecord { ethertype: 0x88cc, ..drop.clone() }), "0x88cc");
        assert_eq!(protocol(&DropRecord { protocol: 47, ..drop }), "ip 47");
    }
}

//! What the kernel says of a namespace: devices, routes, neighbours, counters.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::exec;
use crate::netns::Netns;

/// `ip -json` with these words, as a list.
pub fn ip(netns: &Netns, words: &str) -> Result<Vec<Value>> {
    let args: Vec<&str> = ["-json", "-details"].into_iter().chain(words.split(' ')).collect();
    let text = exec::tool_in(netns, "ip", &args)?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&text).with_context(|| format!("ip {words}: {text}"))
}

/// Everything that `ip` tells of a namespace and that stays the same while nobody changes it.
pub fn picture(netns: &Netns) -> Result<String> {
    let parts = ["link", "addr", "-4 route show table all", "-6 route show table all", "neigh"].map(|what| {
        let words: Vec<&str> = what.split(' ').collect();
        exec::tool_in(netns, "ip", &words).map(|text| format!("{what}:\n{text}"))
    });
    Ok(parts.into_iter().collect::<Result<Vec<String>>>()?.concat())
}

/// Names of a namespace's devices, `lo` left out.
pub fn devices(netns: &Netns) -> Result<Vec<String>> {
    let links = ip(netns, "link show")?;
    let names = links.iter().filter_map(|link| link["ifname"].as_str()).filter(|name| *name != "lo");
    Ok(names.map(str::to_owned).collect())
}

/// Names of a node's devices that look like host ends of weft's veths.
pub fn host_ends(netns: &Netns) -> Result<Vec<String>> {
    Ok(devices(netns)?.into_iter().filter(|name| is_host_end(name)).collect())
}

/// Whether a name is of the form that [`weft_cni::link::host_ifname`] gives.
fn is_host_end(name: &str) -> bool {
    name.len() == 15 && name.strip_prefix("weft").is_some_and(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Packets that the namespace's stack has forwarded, both families.
pub fn forwarded(netns: &Netns) -> Result<u64> {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).context("read counters");
    let (v4, v6) = netns.enter(|| -> Result<_> { Ok((read("snmp")?, read("snmp6")?)) })??;
    let mut ip = v4.lines().filter(|line| line.starts_with("Ip: ")).map(|line| line.split(' '));
    let (names, values) = (ip.next().context("no IPv4 counters")?, ip.next().context("no IPv4 counters")?);
    let v4 = names.zip(values).find(|(name, _)| *name == "ForwDatagrams").context("no IPv4 forwarding counter")?.1;
    let v6 = v6.lines().find_map(|line| line.strip_prefix("Ip6OutForwDatagrams")).context("no IPv6 counter")?;
    Ok(v4.parse::<u64>()? + v6.trim().parse::<u64>()?)
}

/// Writes a sysctl inside a namespace, as `net/ipv4/ip_forward`.
pub fn set_sysctl(netns: &Netns, name: &str, value: &str) -> Result<()> {
    netns.enter(|| fs::write(format!("/proc/sys/{name}"), value))?.with_context(|| format!("set {name}"))
}

/// Reads a sysctl inside a namespace.
pub fn sysctl(netns: &Netns, name: &str) -> Result<String> {
    let text = netns.enter(|| fs::read_to_string(format!("/proc/sys/{name}")))?;
    Ok(text.with_context(|| format!("read {name}"))?.trim().to_owned())
}

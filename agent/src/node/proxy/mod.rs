//! Who translates services on the node: kube-proxy, by what it leaves in the kernel or says of itself.

mod nftables;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use weft_cni::api::ProxyStatus;

use self::nftables::{FAMILIES, Tables};
use super::Node;

/// The device that carries services' addresses in the mode `ipvs`.
pub(super) const IPVS_DEVICE: &str = "kube-ipvs0";
/// The table of the mode `nftables`.
const TABLE: &str = "kube-proxy";
/// Table and chain of the mode `iptables`.
const NAT: (&str, &str) = ("nat", "KUBE-SERVICES");

/// Where kube-proxy tells its mode, unless its `metricsBindAddress` says otherwise.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10_249);
/// On the node itself an answer takes no longer.
const PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of an answer that are looked at.
const ANSWER: u64 = 4096;

/// The older tables that hold anything, one a line; there is a file only once there was a table.
const LEGACY: [&str; 2] = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

impl Node {
    /// Who translates services. Asks the kernel a handful of questions, and kube-proxy one: not for a fast path.
    pub async fn proxy(&self) -> ProxyStatus {
        let found = tokio::task::spawn_blocking(proxy).await;
        found.unwrap_or_else(|error| status("unknown", format!("it could not be looked for: {error}")))
    }
}

/// Who translates services in the thread's network namespace.
pub fn proxy() -> ProxyStatus {
    // In this order: the mode ipvs has chains of iptables too.
    if if_nametoindex(IPVS_DEVICE).is_ok() {
        return status("ipvs", format!("there is a device {IPVS_DEVICE}"));
    }
    let asked = Tables::open().and_then(|mut tables| {
        let own = tables.families_with(|tables, family| tables.has_table(family, TABLE))?;
        if !own.is_empty() {
            return Ok(Some(status("nftables", format!("there is a table {TABLE} of {}", names(&own)))));
        }
        let (table, chain) = NAT;
        let nat = tables.families_with(|tables, family| tables.has_chain(family, table, chain))?;
        let found = format!("there is a chain {chain} in the table {table} of {}", names(&nat));
        Ok((!nat.is_empty()).then(|| status("iptables", found)))
    });
    let unread = match asked {
        Ok(Some(found)) => return found,
        Ok(None) => None,
        Err(error) => Some(error),
    };
    if let Ok(mode) = told() {
        return status(mode, format!("kube-proxy says so at {METRICS}"));
    }
    let nat = |path: &&str| fs::read_to_string(path).is_ok_and(|names| names.lines().any(|name| name == NAT.0));
    if LEGACY.iter().any(nat) {
        let table = NAT.0;
        let evidence = format!("iptables-legacy has a table {table}, and no kube-proxy answers at {METRICS}");
        return status("unknown", evidence);
    }
    match unread {
        Some(error) => status("unknown", format!("the kernel does not list its tables: {error}")),
        None => status("none", "no device, table or chain of kube-proxy is there".to_owned()),
    }
}

fn status(mode: &str, evidence: String) -> ProxyStatus {
    ProxyStatus { mode: mode.to_owned(), evidence }
}

fn names(families: &[u8]) -> String {
    let name = |family: &&(u8, &'static str)| families.contains(&family.0).then_some(family.1);
    FAMILIES.iter().filter_map(|family| name(&family)).collect::<Vec<_>>().join(" and ")
}

/// The mode that kube-proxy says it is in.
fn told() -> io::Result<&'static str> {
    let mut stream = TcpStream::connect_timeout(&METRICS, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one piece: formatted straight into the stream it would leave in several.
    stream.write_all(format!("GET /proxyMode HTTP/1.0\r\nHost: {METRICS}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer)?;
    mode(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The mode in kube-proxy's answer.
fn mode(answer: &str) -> Option<&'static str> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.split(' ').nth(1).filter(|code| *code == "200")?;
    ["iptables", "nftables", "ipvs"].into_iter().find(|mode| body.trim() == *mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = |code: &str, body: &str| format!("HTTP/1.0 {code}\r\nContent-Type: text/plain\r\n\r\n{body}");
        assert_eq!(mode(&answer("200 OK", "iptables")), Some("iptables"));
        assert_eq!(mode(&answer("200 OK", "ipvs\n")), Some("ipvs"));
        assert_eq!(mode(&answer("200 OK", "userspace")), None);
        assert_eq!(mode(&answer("404 Not Found", "iptables")), None);
        assert_eq!(mode("garbage"), None);
    }

    #[test]
    fn families_are_named() {
        assert_eq!(names(&[2]), "IPv4");
        assert_eq!(names(&[10, 2]), "IPv4 and IPv6");
    }
}

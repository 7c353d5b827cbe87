//! Where a question goes.

use std::net::SocketAddr;

use crate::connectivity::{Resolve, Transport};

use super::error::ConnectivityError;
use super::name;

/// `ADDRESS:PORT`, or `NAME:PORT` by its first IPv4 address.
pub(super) fn find(text: &str) -> Result<SocketAddr, ConnectivityError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = || ConnectivityError::Target { text: text.to_owned() };
    let (name, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    if name.contains([':', '[', '/']) || name.is_empty() {
        return Err(wrong());
    }
    let question = Resolve { name: name.to_owned(), over: Transport::Udp, ipv6: false, patience_ms: 0 };
    let addresses = name::resolve(&question)?;
    addresses.first().map(|address| SocketAddr::new(*address, port)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_name_server() {
        assert_eq!(find("[fd00::1]:80").unwrap(), "[fd00::1]:80".parse().unwrap());
        for text in ["10.0.0.1", "fd00::1:x", ":80", "name:port", "[fd00::1:80"] {
            assert!(matches!(find(text), Err(ConnectivityError::Target { .. })), "{text}");
        }
    }
}

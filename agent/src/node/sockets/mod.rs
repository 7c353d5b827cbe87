//! The node's own sockets, as `sock_diag(7)` tells of them: who has a port, and which lead to a pod that is gone.

mod diag;
mod filter;
mod holder;

use std::fmt;
use std::io;
use std::net::IpAddr;

use weft_cni::api::{PortMapping, PortProtocol, share};

use self::diag::{Diag, Entry, Query, State};
use super::NodeError;
use super::error::failed;

pub use holder::Holder;

/// A port that a pod wants and a process of the node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which of the mappings wants it.
    pub index: usize,
    /// Where the process takes packets.
    pub listener: Listener,
    /// The process.
    pub holder: Holder,
}

/// A socket of the node that takes whatever is sent to its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its protocol.
    pub protocol: PortProtocol,
    /// Its address; an unspecified one for all of its family, none for both families'.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    uid: u32,
    inode: u32,
}

impl Listener {
    fn of(protocol: PortProtocol, entry: &Entry) -> Self {
        let address = entry.local.ip();
        let both = address.is_unspecified() && address.is_ipv6() && !entry.v6_only;
        let address = (!both).then(|| address.to_canonical());
        Self { protocol, address, port: entry.local.port(), uid: entry.uid, inode: entry.inode }
    }

    /// One of which nobody knows whose it is.
    #[cfg(test)]
    pub(crate) fn new(protocol: PortProtocol, address: Option<IpAddr>, port: u16) -> Self {
        Self { protocol, address, port, uid: 0, inode: 0 }
    }

    fn takes(&self, mapping: &PortMapping) -> bool {
        self.protocol == mapping.protocol && self.port == mapping.host_port && share(self.address, mapping.host_ip)
    }
}

/// As `ss` writes it: `tcp 127.0.0.1:8080`, `udp *:53`.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => write!(f, "{} *:{}", self.protocol, self.port),
            Some(address) => write!(f, "{} {}", self.protocol, std::net::SocketAddr::new(address, self.port)),
        }
    }
}

/// What could be found out about ports.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The first that a process has.
    pub(super) taken: Option<Taken>,
    /// Protocols whose sockets the kernel cannot list, although it has some.
    pub(super) unlisted: Vec<PortProtocol>,
}

/// Looks for a process of this network namespace that has one of these ports.
pub(super) fn look(ports: &[PortMapping]) -> Result<Findings, NodeError> {
    let mut diag = open()?;
    let (mut found, mut unlisted) = (Vec::new(), Vec::new());
    for (protocol, states) in [
        (PortProtocol::Tcp, State::LISTEN),
        // A datagram socket without a peer takes from everyone.
        (PortProtocol::Udp, State::CLOSE),
        (PortProtocol::Sctp, State::LISTEN),
    ] {
        let mut wanted: Vec<_> =
            ports.iter().filter(|port| port.protocol == protocol).map(|port| port.host_port).collect();
        if wanted.is_empty() {
            continue;
        }
        wanted.sort_unstable();
        wanted.dedup();
        let filter = filter::ports(&wanted);
        for family in diag::FAMILIES {
            let query = Query { family, protocol: protocol.number(), states, filter: &filter };
            match diag.list(&query).map_err(failed("SOCK_DIAG_BY_FAMILY", || format!("{protocol} sockets")))? {
                Some(entries) => found.extend(entries.iter().map(|entry| Listener::of(protocol, entry))),
                // A kernel may be without IPv6, and without SCTP.
                None if family == diag::INET && protocol != PortProtocol::Sctp => unlisted.push(protocol),
                None => {}
            }
        }
    }
    let conflict = ports.iter().enumerate().find_map(|(index, mapping)| {
        let listener = found.iter().find(|listener| listener.takes(mapping))?;
        Some((index, *listener))
    });
    let taken = conflict.map(|(index, listener)| {
        let holder = Holder::of(listener.uid, listener.inode);
        Taken { index, listener, holder }
    });
    Ok(Findings { taken, unlisted })
}

/// Ends every TCP and UDP socket of this network namespace that is connected to one of these addresses: whoever waits
/// in it is told at once. Returns how many; none where the kernel cannot do it (`CONFIG_INET_DIAG_DESTROY`).
pub(super) fn sever(addresses: &[IpAddr]) -> Result<usize, NodeError> {
    let mut diag = open()?;
    let mut ended = 0;
    for (protocol, states) in [(PortProtocol::Tcp, State::CONNECTED), (PortProtocol::Udp, State::ESTABLISHED)] {
        for address in addresses {
            let filter = filter::towards(*address);
            // Sockets of IPv6 may be connected to an address of IPv4.
            for family in diag::FAMILIES.into_iter().filter(|family| address.is_ipv4() || *family == diag::INET6) {
                let query = Query { family, protocol: protocol.number(), states, filter: &filter };
                let entries =
                    diag.list(&query).map_err(failed("SOCK_DIAG_BY_FAMILY", || format!("{protocol} sockets")))?;
                for entry in entries.iter().flatten().filter(|entry| entry.remote.ip().to_canonical() == *address) {
                    match diag.destroy(protocol.number(), entry) {
                        Ok(()) => ended += 1,
                        Err(error) if diag::is_unknown(&error) => return Ok(ended),
                        Err(error) => log::debug!("{protocol} socket to {}: {error}", entry.remote),
                    }
                }
            }
        }
    }
    Ok(ended)
}

fn open() -> Result<Diag, NodeError> {
    Diag::open().map_err(|source: io::Error| NodeError::Open { call: "socket", source })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn mapping(protocol: PortProtocol, host: &str, port: u16) -> PortMapping {
        PortMapping { host_ip: host.parse().ok(), host_port: port, container_port: 80, protocol }
    }

    fn taken(ports: &[PortMapping]) -> Option<Taken> {
        let Findings { taken, unlisted } = look(ports).unwrap();
        assert!(unlisted.is_empty(), "{unlisted:?}");
        taken
    }

    fn index(ports: &[PortMapping]) -> Option<usize> {
        taken(ports).map(|taken| taken.index)
    }

    #[test]
    fn a_listening_process_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = taken(&[
            mapping(PortProtocol::Tcp, "127.0.0.2", port),
            mapping(PortProtocol::Udp, "", port),
            mapping(PortProtocol::Tcp, "", port),
        ])
        .unwrap();
        assert_eq!((taken.index, taken.listener.to_string()), (2, format!("tcp 127.0.0.1:{port}")));
        let Holder::Process { name, pid } = &taken.holder else { unreachable!("{}", taken.holder) };
        assert_eq!(*pid, std::process::id());
        assert!(!name.is_empty());
    }

    #[test]
    fn every_address_that_a_socket_has_counts() {
        use PortProtocol::{Tcp, Udp};
        let both = UdpSocket::bind("[::]:0").unwrap();
        let port = both.local_addr().unwrap().port();
        for host in ["", "0.0.0.0", "::", "192.0.2.1", "fd00::1"] {
            assert_eq!(index(&[mapping(Udp, host, port)]), Some(0), "{host}");
            assert_eq!(index(&[mapping(Tcp, host, port)]), None, "{host}");
        }
        let one = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let port = one.local_addr().unwrap().port();
        for (host, is_taken) in [("", true), ("::", true), ("::1", true), ("0.0.0.0", false), ("fd00::1", false)] {
            assert_eq!(index(&[mapping(Tcp, host, port)]).is_some(), is_taken, "{host}");
        }
    }

    #[test]
    fn a_connected_socket_takes_from_its_peer_alone() {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        one.connect(other.local_addr().unwrap()).unwrap();
        let ports = [one, other].map(|socket| mapping(PortProtocol::Udp, "", socket.local_addr().unwrap().port()));
        let [one, _other] = ports;
        assert_eq!(index(&[one]), None);
    }

    #[test]
    fn among_many_ports_the_one_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let others = (1..=100_u16).map(|other| mapping(PortProtocol::Tcp, "192.0.2.1", other));
        let mut ports: Vec<_> = others.collect();
        assert_eq!(index(&ports), None);
        ports.push(mapping(PortProtocol::Tcp, "", port));
        assert_eq!(index(&ports), Some(100));
    }

    /// An address that nothing else on the machine is connected to.
    const LONELY: [u8; 4] = [127, 87, 49, 3];

    #[test]
    fn connections_to_an_address_are_ended() {
        let listener = TcpListener::bind((IpAddr::from(LONELY), 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let talker = UdpSocket::bind("127.0.0.1:0").unwrap();
        talker.connect(SocketAddr::from((LONELY, 9))).unwrap();
        match sever(&[LONELY.into()]) {
            Ok(0) => {
                // Without CAP_NET_ADMIN the kernel lists them and ends none.
                assert_ne!(nix::unistd::geteuid().as_raw(), 0, "root may end sockets");
            }
            ended => {
                assert_eq!(ended.unwrap(), 2);
                assert_eq!(client.take_error().unwrap().unwrap().kind(), io::ErrorKind::ConnectionAborted);
                assert!(talker.peer_addr().is_err());
            }
        }
        assert!(listener.accept().is_ok(), "a listening socket stays");
    }
}

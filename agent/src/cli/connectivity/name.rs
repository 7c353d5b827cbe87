//! Names of services, as a pod's resolver asks for them (RFC 1035), without a C library's help.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::connectivity::{Resolve, Transport};

use super::error::ConnectivityError;
use super::{exchange, http};

const RESOLV_CONF: &str = "/etc/resolv.conf";

const PORT: u16 = 53;

/// Pause between two attempts.
const PACE: Duration = Duration::from_millis(100);

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

pub(super) fn resolve(question: &Resolve) -> Result<Vec<IpAddr>, ConnectivityError> {
    let text = fs::read_to_string(RESOLV_CONF).map_err(ConnectivityError::io("read", RESOLV_CONF))?;
    let resolver = Resolver::parse(&text);
    let server = *resolver.servers.first().ok_or(ConnectivityError::NoServer { file: RESOLV_CONF })?;
    let until = Instant::now() + Duration::from_millis(question.patience_ms);
    loop {
        match search(&resolver, SocketAddr::new(server, PORT), question) {
            Err(_) if Instant::now() < until => thread::sleep(PACE),
            settled => return settled,
        }
    }
}

/// Each name that the search list makes, until one has an address.
fn search(resolver: &Resolver, server: SocketAddr, question: &Resolve) -> Result<Vec<IpAddr>, ConnectivityError> {
    let mut why = "there is none";
    for name in resolver.candidates(&question.name) {
        let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos());
        let id = u16::try_from(nanos & 0xffff).unwrap_or_default();
        let kind = if question.ipv6 { TYPE_AAAA } else { TYPE_A };
        let query = query(id, &name, kind).ok_or_else(|| ConnectivityError::Name { name: name.clone() })?;
        match read(id, kind, &ask(server, question.over, &query)?) {
            Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
            Ok(_) => {}
            Err(reason) => why = reason,
        }
    }
    Err(ConnectivityError::NoName { server: server.to_string(), name: question.name.clone(), why })
}

fn ask(server: SocketAddr, over: Transport, query: &[u8]) -> Result<Vec<u8>, ConnectivityError> {
    match over {
        Transport::Udp => {
            let socket = exchange::towards(server, http::PATIENCE)?;
            exchange::ask(&socket, server, query, &mut [0; 4096]).map(<[u8]>::to_vec)
        }
        Transport::Tcp => connection(server, query).map_err(ConnectivityError::io("ask over TCP", server)),
    }
}

/// Each message with its length before it (RFC 1035, 4.2.2).
fn connection(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, http::PATIENCE)?;
    stream.set_read_timeout(Some(http::PATIENCE))?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// What /etc/resolv.conf says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Resolver {
    servers: Vec<IpAddr>,
    search: Vec<String>,
}

impl Resolver {
    fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    resolver.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search") => resolver.search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        resolver
    }

    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let completed = self.search.iter().map(|domain| format!("{name}.{}", domain.trim_end_matches('.')));
        completed.chain([name.to_owned()]).collect()
    }
}

/// A query for one type, or nothing for what is no name.
fn query(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut query = Vec::new();
    // Recursion desired; one question.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        query.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        query.push(length);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&kind.to_be_bytes());
    query.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(query)
}

/// The addresses of an answer; none where the name has none of that type.
fn read(id: u16, kind: u16, answer: &[u8]) -> Result<Vec<IpAddr>, &'static str> {
    const SHORT: &str = "its answer is cut off";
    let mut at = Reader { bytes: answer, at: 0 };
    let [got, flags, questions, answers, ..] = at.words::<6>().ok_or(SHORT)?;
    if got != id || flags & 0x8000 == 0 {
        return Err("it answered another question");
    }
    if flags & 0x0200 != 0 {
        return Err("its answer does not fit into a datagram");
    }
    match flags & 0x000f {
        0 => {}
        3 => return Err("the name does not exist"),
        2 => return Err("it failed"),
        5 => return Err("it refuses"),
        _ => return Err("it answered with an error"),
    }
    for _ in 0..questions {
        at.skip_name().and_then(|()| at.words::<2>()).ok_or(SHORT)?;
    }
    let mut addresses = Vec::new();
    for _ in 0..answers {
        at.skip_name().ok_or(SHORT)?;
        let [of, _, _, _, length] = at.words::<5>().ok_or(SHORT)?;
        let data = at.take(usize::from(length)).ok_or(SHORT)?;
        match (of == kind, <[u8; 4]>::try_from(data), <[u8; 16]>::try_from(data)) {
            (true, Ok(address), _) => addresses.push(address.into()),
            (true, _, Ok(address)) => addresses.push(address.into()),
            _ => {}
        }
    }
    Ok(addresses)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + length)?;
        self.at += length;
        Some(taken)
    }

    fn words<const N: usize>(&mut self) -> Option<[u16; N]> {
        let mut words = [0; N];
        for word in &mut words {
            *word = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        }
        Some(words)
    }

    /// Labels up to the root, or up to a pointer (RFC 1035, 4.1.4).
    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.take(1)?.first()? {
                0 => return Some(()),
                pointer if pointer & 0xc0 == 0xc0 => return self.take(1).map(drop),
                length => drop(self.take(usize::from(*length))?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_like_a_pods_resolver_does() {
        let text = "search a.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        let resolver = Resolver::parse(text);
        assert_eq!(resolver.servers, ["10.96.0.10".parse::<IpAddr>().unwrap()]);
        assert_eq!(resolver.candidates("web"), ["web.a.svc.cluster.local", "web.svc.cluster.local", "web"]);
        assert_eq!(resolver.candidates("web.a."), ["web.a"]);
    }

    #[test]
    fn answers_are_read_through_pointers() {
        let query = query(7, "web.a", TYPE_A).unwrap();
        let mut answer = query.clone();
        answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 2]);
        // An alias, then an address, both of the name at byte 12.
        answer.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 9]);
        assert_eq!(read(7, TYPE_A, &answer), Ok(vec![IpAddr::from([10, 0, 0, 9])]));
        assert_eq!(read(8, TYPE_A, &answer), Err("it answered another question"));
        for end in 0..answer.len() {
            assert!(read(7, TYPE_A, &answer[..end]).is_err(), "cut off at {end}");
        }
        answer[3] = 0x83;
        assert_eq!(read(7, TYPE_A, &answer), Err("the name does not exist"));
        assert_eq!(super::query(7, "web..a", TYPE_A), None);
    }
}

//! Filters of `sock_diag(7)`: small programs that the kernel runs on each socket (`linux/inet_diag.h`).
//!
//! An instruction has four bytes: a code, how far to go when it holds, how far when not. A filter that ends exactly at its
//! end has matched, one that goes beyond has not.

use std::net::IpAddr;

use super::diag::{INET, INET6};

/// `INET_DIAG_BC_JMP`: always goes the way of what does not hold.
const JUMP: u8 = 1;
/// `INET_DIAG_BC_S_GE` and `INET_DIAG_BC_S_LE`: the local port is at least, at most.
const FROM: u8 = 2;
const UP_TO: u8 = 3;
/// `INET_DIAG_BC_D_COND`: the remote address lies in a prefix, the remote port is one.
const REMOTE: u8 = 8;

/// Most ports that a filter asks for: the kernel takes the square of its length to check it. Beyond, it tells of all
/// sockets.
const MOST: usize = 64;

/// Bytes of one port's instructions.
const STEP: u16 = 20;

/// Sockets with one of these local ports.
pub(super) fn ports(ports: &[u16]) -> Vec<u8> {
    let mut filter = Vec::new();
    if ports.len() > MOST {
        return filter;
    }
    for (at, port) in ports.iter().enumerate() {
        let rest = u16::try_from(ports.len() - at - 1).unwrap_or(0) * STEP;
        // At least, at most, then over all that follows to the end. What is none of them goes four bytes too far.
        let last = if rest == 0 { 4 } else { 0 };
        instruction(&mut filter, FROM, 8, STEP + last);
        instruction(&mut filter, 0, 0, *port);
        instruction(&mut filter, UP_TO, 8, STEP - 8 + last);
        instruction(&mut filter, 0, 0, *port);
        instruction(&mut filter, JUMP, 4, 4 + rest);
    }
    filter
}

/// Sockets that are connected to this address.
pub(super) fn towards(address: IpAddr) -> Vec<u8> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (INET, address.octets().to_vec()),
        IpAddr::V6(address) => (INET6, address.octets().to_vec()),
    };
    let (prefix, length) = if family == INET { (32, 16) } else { (128, 28) };
    let mut filter = Vec::new();
    instruction(&mut filter, REMOTE, length, u16::from(length) + 4);
    filter.extend([family, prefix, 0, 0]);
    // Any port.
    filter.extend((-1_i32).to_ne_bytes());
    filter.extend(bytes);
    filter
}

fn instruction(filter: &mut Vec<u8>, code: u8, holds: u8, fails: u16) {
    filter.extend([code, holds]);
    filter.extend(fails.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel makes of a filter of ports.
    fn matches(filter: &[u8], port: u16) -> bool {
        let mut at = 0;
        while at < filter.len() {
            let fails = u16::from_ne_bytes([filter[at + 2], filter[at + 3]]);
            let limit = || u16::from_ne_bytes([filter[at + 6], filter[at + 7]]);
            let holds = match filter[at] {
                FROM => port >= limit(),
                UP_TO => port <= limit(),
                _ => false,
            };
            at += if holds { usize::from(filter[at + 1]) } else { usize::from(fails) };
        }
        at == filter.len()
    }

    #[test]
    fn only_these_ports_match() {
        for wanted in [&[80][..], &[80, 443], &[1, 80, 65535]] {
            let filter = ports(wanted);
            for port in [1, 2, 79, 80, 81, 443, 65534, 65535] {
                assert_eq!(matches(&filter, port), wanted.contains(&port), "{port} in {wanted:?}");
            }
        }
        assert!(ports(&[80; MOST + 1]).is_empty());
    }
}

//! Internet checksums, computed anew: RFC 1071.

use anyhow::{Context, Result, bail, ensure};

use super::read::{self, Layers, Transport};

/// The sum of big-endian words, an odd last byte padded with zero, not yet inverted.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded, it fits.
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The checksum of bytes in which its own field is zero.
pub fn of(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The checksum over pseudo-header and transport packet, in which its own field is zero.
pub fn with_pseudo_header(src: &[u8], dst: &[u8], protocol: u8, packet: &[u8]) -> u16 {
    let length = u64::try_from(packet.len()).unwrap_or_default();
    !fold(sum(src) + sum(dst) + u64::from(protocol) + (length & 0xffff) + (length >> 16) + sum(packet))
}

/// Fails unless every checksum of a frame is right: IPv4 header, transport, and the packet that an ICMP error quotes
/// as far as it is there whole.
pub fn verify(frame: &[u8]) -> Result<()> {
    let layers = read::layers(frame)?;
    verify_header(frame, &layers)?;
    if layers.is_later_fragment() || layers.more_fragments {
        // The transport's sum covers the whole datagram.
        return Ok(());
    }
    verify_transport(frame, &layers)?;
    if let Some(quoted) = layers.quoted {
        let inner = &frame[quoted..layers.end];
        let inner_layers = read::packet(inner).context("the quoted packet")?;
        verify_header(inner, &inner_layers).context("the quoted packet")?;
    }
    Ok(())
}

fn verify_header(bytes: &[u8], layers: &Layers) -> Result<()> {
    if layers.v4 {
        let header = &bytes[layers.network..layers.network_end];
        ensure!(fold(sum(header)) == 0xffff, "the IPv4 header's checksum is wrong: {header:02x?}");
    }
    Ok(())
}

fn verify_transport(frame: &[u8], layers: &Layers) -> Result<()> {
    let (src, dst) = (read::octets(layers.src), read::octets(layers.dst));
    let packet = &frame[layers.transport_at..layers.end];
    let whole = |protocol: u8| fold(sum(&src) + sum(&dst) + u64::from(protocol) + sum_of_length(packet) + sum(packet));
    let (what, total) = match layers.transport {
        Transport::Tcp => ("TCP", whole(6)),
        Transport::Udp if packet[6..8] == [0, 0] => {
            ensure!(layers.v4, "UDP on IPv6 without a checksum");
            return Ok(());
        }
        Transport::Udp => ("UDP", whole(17)),
        Transport::Icmp if layers.v4 => ("ICMP", fold(sum(packet))),
        Transport::Icmp => ("ICMPv6", whole(58)),
        Transport::Sctp => {
            let mut blank = packet.to_vec();
            blank[8..12].fill(0);
            let (found, due) = (&packet[8..12], crc32c(&blank).to_le_bytes());
            ensure!(found == due, "the SCTP checksum is {found:02x?} where {due:02x?} is due");
            return Ok(());
        }
        Transport::Other(_) => return Ok(()),
    };
    if total != 0xffff {
        bail!("the {what} checksum is wrong: it adds up to {total:04x}");
    }
    Ok(())
}

/// The checksum of SCTP (RFC 9260, appendix A), bit by bit.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0x82f6_3b78 };
        }
    }
    !crc
}

fn sum_of_length(packet: &[u8]) -> u64 {
    let length = u64::try_from(packet.len()).unwrap_or_default();
    (length & 0xffff) + (length >> 16)
}

/// A frame with its checksum fields zeroed: for comparing all else, as zero has two forms in them.
pub fn without(frame: &[u8]) -> Result<Vec<u8>> {
    let layers = read::layers(frame)?;
    let mut bytes = frame.to_vec();
    let mut blank = |at: usize| {
        if let Some(field) = bytes.get_mut(at..at + 2) {
            field.fill(0);
        }
    };
    let fields = |base: usize, layers: &Layers| {
        let header = layers.v4.then_some(base + layers.network + 10);
        let transport = match layers.transport {
            _ if layers.is_later_fragment() => None,
            Transport::Tcp => Some(16),
            Transport::Udp => Some(6),
            Transport::Icmp => Some(2),
            Transport::Sctp => Some(8),
            Transport::Other(_) => None,
        };
        // The CRC of SCTP is twice as long; a quoted one stays, as too little is quoted to change it.
        let rest = (layers.transport == Transport::Sctp).then_some(10);
        let of_transport = |offset| base + layers.transport_at + offset;
        [header, transport.map(of_transport), transport.and(rest).map(of_transport)]
    };
    fields(0, &layers).into_iter().flatten().for_each(&mut blank);
    if let Some(quoted) = layers.quoted
        && let Ok(inner) = read::packet(&frame[quoted..])
    {
        fields(quoted, &inner).into_iter().flatten().for_each(&mut blank);
    }
    Ok(bytes)
}

//! One address type for both families.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address of either family: 16 bytes in network byte order, IPv4 as `::ffff:a.b.c.d`.
///
/// Kept as four words so that the programs copy and compare it a word at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "the same words are equal and hash alike either way")]
pub struct Addr {
    /// The address, each word as it lies in memory (network byte order).
    pub words: [u32; 4],
}

const _: () = assert!(size_of::<Addr>() == 16 && align_of::<Addr>() == 4);

impl Addr {
    /// The third word of every IPv4 address: `0000:ffff`.
    const V4_MARK: u32 = 0xffff_u32.to_be();

    /// `127.0.0.1`.
    pub const LOOPBACK_V4: Self = Self::from_v4_word(0x7f00_0001_u32.to_be());

    /// `::1`.
    pub const LOOPBACK_V6: Self = Self { words: [0, 0, 0, 1_u32.to_be()] };

    /// An IPv4 address from its four bytes read as one word in memory order.
    #[inline(always)]
    pub const fn from_v4_word(word: u32) -> Self {
        Self { words: [0, 0, Self::V4_MARK, word] }
    }

    /// An IPv6 address from its words in memory order.
    #[inline(always)]
    pub const fn from_v6_words(words: [u32; 4]) -> Self {
        Self { words }
    }

    /// Whether this is an IPv4 address (or an IPv6 address that claims to be one).
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.words[0] == 0 && self.words[1] == 0 && self.words[2] == Self::V4_MARK
    }

    /// The key under which `pods` holds an adopted endpoint by its interface, beside its addresses, for frames that
    /// bear none of them; see [`Pod::of_link`](crate::Pod::of_link).
    ///
    /// A multicast address of the reserved scope 0 (RFC 4291), so it is never the address of a pod.
    #[inline(always)]
    pub const fn of_link(ifindex: u32) -> Self {
        Self { words: [0xff00_0000_u32.to_be(), 0, 0, ifindex.to_be()] }
    }

    /// Whether it is in `ff00::/8`.
    #[inline(always)]
    pub const fn is_v6_multicast(&self) -> bool {
        u32::from_be(self.words[0]) >> 24 == 0xff
    }

    /// Whether it is in `fe80::/10`.
    #[inline(always)]
    pub const fn is_v6_link_local(&self) -> bool {
        u32::from_be(self.words[0]) >> 22 == 0xfe80 >> 6
    }

    /// Whether it is `0.0.0.0` or `::`.
    #[inline(always)]
    pub const fn is_unspecified(&self) -> bool {
        let [a, b, c, d] = self.words;
        a | b | d == 0 && (c == 0 || c == Self::V4_MARK)
    }

    /// Whether it is in `127.0.0.0/8`, or `::1`.
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        let [a, b, c, d] = self.words;
        let d = u32::from_be(d);
        a | b == 0 && (c == Self::V4_MARK && d >> 24 == 127 || c == 0 && d == 1)
    }

    /// The 16 bytes in network byte order.
    pub const fn octets(&self) -> [u8; 16] {
        let [a, b, c, d] = self.words;
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.to_ne_bytes(), b.to_ne_bytes());
        let ([c0, c1, c2, c3], [d0, d1, d2, d3]) = (c.to_ne_bytes(), d.to_ne_bytes());
        [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3]
    }

    /// The address whose 16 bytes in network byte order are `octets`.
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = octets;
        Self {
            words: [
                u32::from_ne_bytes([a0, a1, a2, a3]),
                u32::from_ne_bytes([b0, b1, b2, b3]),
                u32::from_ne_bytes([c0, c1, c2, c3]),
                u32::from_ne_bytes([d0, d1, d2, d3]),
            ],
        }
    }
}

impl PartialEq for Addr {
    // Without the call of `bcmp`, byte by byte, that comparing arrays comes to in a program.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.words, other.words);
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::from_v4_word(u32::from_ne_bytes(v4.octets())),
            IpAddr::V6(v6) => Self::from_octets(v6.octets()),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        if addr.is_v4() {
            Ipv4Addr::from(addr.words[3].to_ne_bytes()).into()
        } else {
            Ipv6Addr::from(addr.octets()).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_mapped_and_comes_back() {
        let ip = IpAddr::from([10, 244, 0, 7]);
        let addr = Addr::from(ip);
        assert_eq!(addr.octets(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 244, 0, 7]);
        assert!(addr.is_v4());
        assert_eq!(IpAddr::from(addr), ip);
    }

    #[test]
    fn kinds_are_told_apart() {
        let addr = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap_or(IpAddr::from([255; 4])));
        assert!(addr("fe80::1").is_v6_link_local() && addr("febf::1").is_v6_link_local());
        assert!(!addr("fec0::1").is_v6_link_local() && !addr("169.254.1.1").is_v6_link_local());
        assert!(addr("ff02::1").is_v6_multicast() && Addr::of_link(7).is_v6_multicast());
        assert!(!addr("fe80::1").is_v6_multicast() && !addr("224.0.0.1").is_v6_multicast());
        assert!(addr("::").is_unspecified() && addr("0.0.0.0").is_unspecified());
        assert!(!addr("::1").is_unspecified() && !addr("0.0.0.1").is_unspecified());
    }

    #[test]
    fn loopback_is_told_apart() {
        let addr = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap_or(IpAddr::from([255; 4])));
        assert_eq!((Addr::LOOPBACK_V4, Addr::LOOPBACK_V6), (addr("127.0.0.1"), addr("::1")));
        assert!(["127.0.0.1", "127.255.0.3", "::1"].iter().all(|text| addr(text).is_loopback()));
        assert!(["128.0.0.1", "0.0.0.1", "::", "::2", "::127.0.0.1"].iter().all(|text| !addr(text).is_loopback()));
    }

    #[test]
    fn ipv6_comes_back() {
        let ip = IpAddr::from([0xfd00, 0x10, 0, 0, 0, 0, 0xffff, 7]);
        let addr = Addr::from(ip);
        assert!(!addr.is_v4());
        assert_eq!(IpAddr::from(addr), ip);
    }
}

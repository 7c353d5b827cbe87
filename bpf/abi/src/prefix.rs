//! The key of the maps that are searched by longest prefix.

use crate::Addr;

/// A prefix of either family: that of an IPv4 network is 96 bits longer than people write it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Bits of `addr` that count, 0 to 128.
    pub bits: u32,
    /// The network; what is behind `bits` is zero.
    pub addr: Addr,
}

const _: () = assert!(size_of::<Prefix>() == 20 && align_of::<Prefix>() == 4);

impl Prefix {
    /// Bits of an [`Addr`].
    pub const FULL: u32 = 128;

    /// The prefix that one address alone has: what is looked up.
    #[inline(always)]
    pub const fn host(addr: Addr) -> Self {
        Self { bits: Self::FULL, addr }
    }
}

//! Checksums of the Internet kind, changed by what changes under them (RFC 1624).

/// A checksum in the making.
#[derive(Clone, Copy)]
pub(super) struct Sum(u32);

impl Sum {
    /// Begins with a checksum as it lies in memory.
    #[inline(always)]
    pub(super) fn of(checksum: u16) -> Self {
        Self(u32::from(!checksum))
    }

    /// Two bytes change.
    #[inline(always)]
    pub(super) fn half(self, old: u16, new: u16) -> Self {
        Self(self.0 + u32::from(!old) + u32::from(new))
    }

    /// Four bytes change.
    #[inline(always)]
    pub(super) fn word(self, old: u32, new: u32) -> Self {
        let [low, high] = [old as u16, (old >> 16) as u16];
        self.half(low, new as u16).half(high, (new >> 16) as u16)
    }

    /// The checksum, as it lies in memory.
    #[inline(always)]
    pub(super) fn finish(self) -> u16 {
        let once = (self.0 & 0xffff) + (self.0 >> 16);
        !(once as u16).wrapping_add((once >> 16) as u16)
    }
}

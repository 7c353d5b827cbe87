//! Bytes replaced in a packet together with the checksum that covers them.

use aya_ebpf::bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM};
use aya_ebpf::helpers::{bpf_csum_diff, bpf_l4_csum_replace, bpf_skb_store_bytes};
use weft_abi::{Addr, Reason};

use super::{Skb, Wire};

/// A checksum in a packet.
#[derive(Clone, Copy)]
pub(crate) struct Checksum {
    /// Where it is, in bytes from the Ethernet header's first.
    pub(crate) offset: u32,
    /// Whether 0 stands for none (UDP over IPv4).
    pub(crate) optional: bool,
}

impl Checksum {
    #[inline(always)]
    fn flags(self, size: u32) -> u64 {
        u64::from(if self.optional { size | BPF_F_MARK_MANGLED_0 } else { size })
    }
}

impl Skb {
    /// Writes a value; checksums are the caller's business.
    #[inline(always)]
    pub(crate) fn store<T: Wire>(&mut self, offset: u32, value: &T) -> Result<(), Reason> {
        // SAFETY: the context is the kernel's; the value has no padding.
        let result =
            unsafe { bpf_skb_store_bytes(self.ctx, offset, (&raw const *value).cast(), size_of::<T>() as u32, 0) };
        if result == 0 { Ok(()) } else { Err(Reason::Malformed) }
    }

    /// Tells a checksum that an IPv4 address of the pseudo-header changes, both as words in memory order.
    #[inline(always)]
    pub(crate) fn fix_pseudo_v4(&mut self, checksum: Checksum, old: u32, new: u32) -> Result<(), Reason> {
        self.l4_replace(checksum, old.into(), new.into(), checksum.flags(BPF_F_PSEUDO_HDR | 4))
    }

    /// Replaces an IPv6 address and tells the checksum in whose pseudo-header it is.
    ///
    /// The kernel's own sum over a received packet stays right this way: both calls touch it, in opposite directions.
    #[inline(always)]
    pub(crate) fn replace_v6(
        &mut self,
        offset: u32,
        checksum: Option<Checksum>,
        old: &Addr,
        new: &Addr,
    ) -> Result<(), Reason> {
        if let Some(checksum) = checksum {
            let diff = difference(old, new);
            self.l4_replace(checksum, 0, diff, checksum.flags(BPF_F_PSEUDO_HDR))?;
        }
        // SAFETY: the context is the kernel's.
        let result =
            unsafe { bpf_skb_store_bytes(self.ctx, offset, (&raw const *new).cast(), 16, BPF_F_RECOMPUTE_CSUM.into()) };
        if result == 0 { Ok(()) } else { Err(Reason::Malformed) }
    }

    /// Replaces two bytes that a checksum covers, both in memory order.
    #[inline(always)]
    pub(crate) fn replace_half(
        &mut self,
        offset: u32,
        checksum: Option<Checksum>,
        old: u16,
        new: u16,
    ) -> Result<(), Reason> {
        if let Some(checksum) = checksum {
            self.l4_replace(checksum, old.into(), new.into(), checksum.flags(2))?;
        }
        self.store(offset, &new)
    }

    /// Tells a checksum that words which it covers change by that difference.
    #[inline(always)]
    pub(crate) fn fix_payload(&mut self, checksum: Checksum, old: &Addr, new: &Addr) -> Result<(), Reason> {
        self.l4_replace(checksum, 0, difference(old, new), checksum.flags(0))
    }

    #[inline(always)]
    fn l4_replace(&mut self, checksum: Checksum, from: u64, to: u64, flags: u64) -> Result<(), Reason> {
        // SAFETY: the context is the kernel's, which checks the offset.
        let result = unsafe { bpf_l4_csum_replace(self.ctx, checksum.offset, from, to, flags) };
        if result == 0 { Ok(()) } else { Err(Reason::Malformed) }
    }
}

/// By how much a checksum changes when one address takes another's place.
#[inline(always)]
fn difference(old: &Addr, new: &Addr) -> u64 {
    // SAFETY: both are 16 bytes, which the kernel only reads.
    let sum =
        unsafe { bpf_csum_diff((&raw const *old).cast_mut().cast(), 16, (&raw const *new).cast_mut().cast(), 16, 0) };
    sum.cast_unsigned()
}

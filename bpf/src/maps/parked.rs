//! `parked`: fragments that nobody knows the receiver of yet.
#![expect(unsafe_code, reason = "the kernel hands out a record as a pointer")]

use aya_ebpf::btf_maps::RingBuf;
use aya_ebpf::macros::btf_map;
use weft_abi::{PARKED_BYTES, Parked};

// Without a value type, like `events`.
#[btf_map(name = "parked")]
static PARKED: RingBuf<(), { PARKED_BYTES as usize }> = RingBuf::new();

/// Leaves a record that is filled in place, unless filling it fails; without room for it it is lost.
#[inline(always)]
pub(crate) fn park(fill: impl FnOnce(&mut Parked) -> bool) {
    let Some(mut entry) = PARKED.reserve_untyped::<Parked>(0) else { return };
    // SAFETY: the kernel's memory is initialised, and any bit pattern is a value.
    if fill(unsafe { entry.assume_init_mut() }) {
        entry.submit(0);
    } else {
        entry.discard(0);
    }
}

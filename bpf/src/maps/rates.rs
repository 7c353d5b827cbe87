//! `rates`: how fast pods may be, and what came of it.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use core::ptr;

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::helpers::{bpf_spin_lock, bpf_spin_unlock};
use aya_ebpf::macros::btf_map;
use weft_abi::{Direction, Limit, RATES_MAX, Rate};

/// As with `pods`, a removed entry is freed after a grace period.
#[btf_map(name = "rates")]
static RATES: HashMap<u32, Rate, { RATES_MAX as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// One direction of a limited pod.
#[derive(Clone, Copy)]
pub(crate) struct Bucket {
    rate: *mut Rate,
    direction: Direction,
}

/// What limits the endpoint of that number in that direction.
#[inline(always)]
pub(crate) fn bucket(endpoint: u32, direction: Direction) -> Option<Bucket> {
    let bucket = Bucket { rate: RATES.get_ptr_mut(endpoint)?, direction };
    (bucket.limit().rate != 0).then_some(bucket)
}

impl Bucket {
    /// What the agent set; the rest may be changing.
    #[inline(always)]
    pub(crate) fn limit(&self) -> &Limit {
        // SAFETY: the kernel handed the pointer out for this program's run; any bit pattern is a value.
        unsafe { (*self.rate).limit(self.direction) }
    }

    /// Changes it while nobody else does. The kernel allows no call meanwhile.
    #[inline(always)]
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Limit) -> T) -> T {
        // SAFETY: as above; the lock keeps other processors out, and it is the kernel's by name and size.
        unsafe {
            let lock = ptr::from_mut(&mut (*self.rate).lock).cast();
            bpf_spin_lock(lock);
            let result = change((*self.rate).limit_mut(self.direction));
            bpf_spin_unlock(lock);
            result
        }
    }
}

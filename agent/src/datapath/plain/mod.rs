//! The one place with unsafe code: what the compiler cannot check about bytes, descriptors and bpf(2).
#![expect(unsafe_code, reason = "aya and tokio ask for promises, and some calls of bpf(2) are missing in aya")]

mod frames;
mod links;
mod table;

use std::io;

use aya::maps::{MapData, RingBuf};
#[cfg(target_env = "gnu")]
use nix::libc;
use tokio::io::unix::AsyncFd;

pub(crate) use frames::FrameSocket;
pub(super) use links::{detach, netns_cookie, open, update};
pub(super) use table::{Failed, Put, Table};

/// A key or value of a map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain<T: weft_abi::Plain>(pub(super) T);

// SAFETY: `weft_abi::Plain` is sealed and marks types that have no padding and for which every bit pattern is a valid
// value; `repr(transparent)` keeps that.
unsafe impl<T: weft_abi::Plain> aya::Pod for Plain<T> {}

/// The value that these bytes are; `None` if they are too few.
pub(super) fn read<T: weft_abi::Plain>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: there are as many bytes as the value has, any bit pattern is valid, and the read needs no alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Has the runtime watch the ring buffer. It may be read inside, but not replaced.
pub(super) fn watch(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring buffer owns its map's descriptor, has no means to close or change it, and stays inside the
    // result until that is dropped.
    Ok(unsafe { AsyncFd::register(ring) }?)
}

/// Gives back the memory that is free: to load programs takes megabytes that are not needed again, and the allocator
/// keeps them otherwise.
pub(crate) fn trim_heap() {
    // SAFETY: it takes no pointer, and holds the allocator's own locks while it works.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use weft_abi::Counter;

    use super::*;

    #[test]
    fn bytes_become_a_value_wherever_they_lie() {
        let mut bytes = vec![0xff];
        bytes.extend(7_u64.to_ne_bytes());
        bytes.extend(4200_u64.to_ne_bytes());
        assert_eq!(read(&bytes[1..]), Some(Counter { packets: 7, bytes: 4200 }));
        assert_eq!(read::<Counter>(&bytes[2..]), None);
    }
}

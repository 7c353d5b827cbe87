//! A pinned map as a table, straight on bpf(2): aya has no batches, and copies a key at each step of an iteration.
//!
//! A batch takes thousands of entries a call: hashes know them since kernel 5.6, tries since 5.16. A kernel without
//! them is asked entry by entry.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use aya::maps::MapData;
use nix::errno::Errno;
use nix::libc;
use weft_abi::Plain;

/// Entries in one call. No bucket of a hash has as many, and one that does not fit is an error.
const BATCH: u16 = 4096;

/// Words that the kernel may need to find the place where a batch ended: the largest key.
const CURSOR: usize = 16;

const LOOKUP: Command = Command { number: 1, name: "BPF_MAP_LOOKUP_ELEM" };
const UPDATE: Command = Command { number: 2, name: "BPF_MAP_UPDATE_ELEM" };
const DELETE: Command = Command { number: 3, name: "BPF_MAP_DELETE_ELEM" };
const NEXT_KEY: Command = Command { number: 4, name: "BPF_MAP_GET_NEXT_KEY" };
const LOOKUP_BATCH: Command = Command { number: 24, name: "BPF_MAP_LOOKUP_BATCH" };
const UPDATE_BATCH: Command = Command { number: 26, name: "BPF_MAP_UPDATE_BATCH" };
const DELETE_BATCH: Command = Command { number: 27, name: "BPF_MAP_DELETE_BATCH" };

/// `ENOTSUPP`, which the kernel keeps from `errno.h` and tells all the same: this kind of map has no batches.
const ENOTSUPP: i32 = 524;

/// A call of bpf(2) that failed.
#[derive(Debug)]
pub(in crate::datapath) struct Failed {
    pub(in crate::datapath) call: &'static str,
    pub(in crate::datapath) source: io::Error,
}

impl Failed {
    /// Whether it failed for that reason.
    pub(in crate::datapath) fn is(&self, errno: Errno) -> bool {
        self.source.raw_os_error() == Some(errno as i32)
    }

    fn lacks_batches(&self) -> bool {
        self.source.raw_os_error() == Some(ENOTSUPP) || self.is(Errno::EINVAL) || self.is(Errno::EOPNOTSUPP)
    }
}

/// Whether an entry may be there already.
#[derive(Clone, Copy, Debug)]
pub(in crate::datapath) enum Put {
    /// Replace it.
    Any = 0,
    /// Leave it.
    New = 1,
    /// Change it in its place, under the lock that the value begins with.
    Locked = 4,
}

#[derive(Clone, Copy)]
struct Command {
    number: libc::c_int,
    name: &'static str,
}

/// `union bpf_attr` for one entry.
#[repr(C)]
struct Element {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` for many.
#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// A map whose keys and values are of these types; whoever opens it has checked their sizes.
#[derive(Debug)]
pub(in crate::datapath) struct Table<K, V> {
    map: MapData,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Plain, V: Plain> Table<K, V> {
    /// Opens the pin; an error if keys or values have another size.
    pub(in crate::datapath) fn open(pin: &Path) -> Result<Self, aya::maps::MapError> {
        const { assert!(size_of::<K>() <= CURSOR * size_of::<u32>()) };
        let map = MapData::from_pin(pin)?;
        let info = map.info()?;
        let (key, value) = (info.key_size() as usize, info.value_size() as usize);
        if key != size_of::<K>() {
            return Err(aya::maps::MapError::InvalidKeySize { size: key, expected: size_of::<K>() });
        }
        if value != size_of::<V>() {
            return Err(aya::maps::MapError::InvalidValueSize { size: value, expected: size_of::<V>() });
        }
        Ok(Self { map, types: PhantomData })
    }

    /// The value of that key. Does not count as a use in an LRU map.
    pub(in crate::datapath) fn get(&self, key: &K) -> Result<Option<V>, Failed> {
        let mut value = std::mem::MaybeUninit::<V>::uninit();
        let attr = self.element(key, value.as_mut_ptr().expose_provenance() as u64, 0);
        // SAFETY: `key` has the map's key size, and `value` room for the map's value size.
        match unsafe { bpf(LOOKUP, &attr) } {
            // SAFETY: the kernel has written the value, and any bit pattern is one.
            Ok(()) => Ok(Some(unsafe { value.assume_init() })),
            Err(failed) if failed.is(Errno::ENOENT) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Writes one entry; whether it was (with [`Put::New`] it may be there already).
    pub(in crate::datapath) fn put(&self, key: &K, value: &V, put: Put) -> Result<bool, Failed> {
        let attr = self.element(key, (&raw const *value).expose_provenance() as u64, put as u64);
        // SAFETY: `key` and `value` have the map's sizes.
        match unsafe { bpf(UPDATE, &attr) } {
            Ok(()) => Ok(true),
            Err(failed) if failed.is(Errno::EEXIST) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    /// Removes one entry; whether it was there.
    pub(in crate::datapath) fn delete(&self, key: &K) -> Result<bool, Failed> {
        // SAFETY: `key` has the map's key size.
        match unsafe { bpf(DELETE, &self.element(key, 0, 0)) } {
            Ok(()) => Ok(true),
            Err(failed) if failed.is(Errno::ENOENT) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    /// Writes these entries over what is there; stops at the first that fails.
    pub(in crate::datapath) fn put_all(&self, entries: &[(K, V)]) -> Result<(), Failed> {
        for entries in entries.chunks(usize::from(BATCH)) {
            let (keys, values): (Vec<K>, Vec<V>) = entries.iter().copied().unzip();
            let values_at = values.as_ptr().expose_provenance() as u64;
            // SAFETY: there are as many keys and values as it says, in the map's sizes.
            match unsafe { self.batch(UPDATE_BATCH, &keys, values_at) } {
                Err(failed) if failed.lacks_batches() => {
                    entries.iter().try_for_each(|(key, value)| self.put(key, value, Put::Any).map(drop))?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Removes these entries; some may be gone already.
    pub(in crate::datapath) fn delete_all(&self, keys: &[K]) -> Result<(), Failed> {
        for keys in keys.chunks(usize::from(BATCH)) {
            // SAFETY: there are as many keys as it says, in the map's size.
            match unsafe { self.batch(DELETE_BATCH, keys, 0) } {
                // One that is gone ends the batch.
                Err(failed) if failed.lacks_batches() || failed.is(Errno::ENOENT) => {
                    keys.iter().try_for_each(|key| self.delete(key).map(drop))?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Shows every entry, thousands at a time. One that comes or goes meanwhile may be missing.
    pub(in crate::datapath) fn visit(&self, mut show: impl FnMut(&[K], &[V])) -> Result<(), Failed> {
        let (mut keys, mut values) =
            (Vec::<K>::with_capacity(usize::from(BATCH)), Vec::<V>::with_capacity(usize::from(BATCH)));
        let (mut from, mut to) = ([0_u32; CURSOR], [0_u32; CURSOR]);
        let mut first = true;
        loop {
            keys.clear();
            values.clear();
            let mut attr = Batch {
                from: if first { 0 } else { from.as_ptr().expose_provenance() as u64 },
                to: to.as_mut_ptr().expose_provenance() as u64,
                keys: keys.as_mut_ptr().expose_provenance() as u64,
                values: values.as_mut_ptr().expose_provenance() as u64,
                count: u32::from(BATCH),
                map_fd: self.fd(),
                elem_flags: 0,
                flags: 0,
            };
            // SAFETY: keys and values have room for `count` entries in the map's sizes, and a place fits a cursor.
            let looked = unsafe { bpf_mut(LOOKUP_BATCH, &mut attr) };
            let last = match looked {
                Ok(()) => false,
                Err(failed) if failed.is(Errno::ENOENT) => true,
                Err(failed) if first && failed.lacks_batches() => return self.visit_each(show),
                Err(failed) => return Err(failed),
            };
            let count = usize::from(BATCH).min(attr.count as usize);
            // SAFETY: the kernel has written so many of both, and any bit pattern is one.
            unsafe {
                keys.set_len(count);
                values.set_len(count);
            }
            show(&keys, &values);
            if last {
                return Ok(());
            }
            (from, first) = (to, false);
        }
    }

    /// Every entry.
    pub(in crate::datapath) fn all(&self) -> Result<Vec<(K, V)>, Failed> {
        let mut all = Vec::new();
        self.visit(|keys, values| all.extend(keys.iter().copied().zip(values.iter().copied())))?;
        Ok(all)
    }

    /// The kernel begins anew where the key before is gone, so the keys come first.
    fn visit_each(&self, mut show: impl FnMut(&[K], &[V])) -> Result<(), Failed> {
        let mut keys: Vec<K> = Vec::new();
        while let Some(key) = self.next_key(keys.last())? {
            keys.push(key);
        }
        for key in keys {
            if let Some(value) = self.get(&key)? {
                show(&[key], &[value]);
            }
        }
        Ok(())
    }

    fn next_key(&self, key: Option<&K>) -> Result<Option<K>, Failed> {
        let mut next = std::mem::MaybeUninit::<K>::uninit();
        let mut attr = Element {
            map_fd: self.fd(),
            pad: 0,
            key: 0,
            value: next.as_mut_ptr().expose_provenance() as u64,
            flags: 0,
        };
        if let Some(key) = key {
            attr.key = (&raw const *key).expose_provenance() as u64;
        }
        // SAFETY: `key` has the map's key size, and `next` room for one.
        match unsafe { bpf(NEXT_KEY, &attr) } {
            // SAFETY: the kernel has written the key, and any bit pattern is one.
            Ok(()) => Ok(Some(unsafe { next.assume_init() })),
            Err(failed) if failed.is(Errno::ENOENT) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    fn element(&self, key: &K, value: u64, flags: u64) -> Element {
        Element { map_fd: self.fd(), pad: 0, key: (&raw const *key).expose_provenance() as u64, value, flags }
    }

    /// Carries out a command on many entries.
    ///
    /// # Safety
    /// `values` is the address of as many values as there are keys, or the command reads none.
    unsafe fn batch(&self, command: Command, keys: &[K], values: u64) -> Result<(), Failed> {
        let mut attr = Batch {
            from: 0,
            to: 0,
            keys: keys.as_ptr().expose_provenance() as u64,
            values,
            count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
            map_fd: self.fd(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the caller has promised it for the values; the keys are a slice.
        unsafe { bpf_mut(command, &mut attr) }
    }

    fn fd(&self) -> u32 {
        self.map.fd().as_fd().as_raw_fd().cast_unsigned()
    }
}

/// # Safety
/// What the attributes point to has the sizes that the command takes it to have.
unsafe fn bpf(command: Command, attr: &Element) -> Result<(), Failed> {
    // SAFETY: the kernel reads as many bytes of `attr` as it is told to; the rest is the caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command.number, (&raw const *attr), size_of::<Element>()) };
    checked(command, answer)
}

/// The same for the commands that write into their attributes.
///
/// # Safety
/// As of [`bpf`].
unsafe fn bpf_mut(command: Command, attr: &mut Batch) -> Result<(), Failed> {
    // SAFETY: the kernel reads and writes as many bytes of `attr` as it is told to; the rest is the caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command.number, (&raw mut *attr), size_of::<Batch>()) };
    checked(command, answer)
}

fn checked(command: Command, answer: libc::c_long) -> Result<(), Failed> {
    if answer == 0 { Ok(()) } else { Err(Failed { call: command.name, source: io::Error::last_os_error() }) }
}

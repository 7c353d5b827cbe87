//! Classes of `htb`: one a pod and direction, with a queue of its own behind it.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, Nla};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption, TcStats2};
use nix::errno::Errno;

use super::discipline::{MAJOR, OPTIONS, message, words};
use super::failed;
use crate::node::NodeError;
use crate::node::error::{is, unless_gone};
use crate::node::links::SHAPER;
use crate::node::netlink::{Request, Socket};

/// Bytes of the link layer that `htb` counts and a limit does not.
const LINK: u64 = 14;

/// Bytes that a class may send before the next one has its turn: the largest packet.
const QUANTUM: u32 = 65536;

/// Attributes of a class, and where `struct tc_htb_opt` has what we set: `linux/pkt_sched.h`.
const PARMS: u16 = 1;
const RATE64: u16 = 6;
const CEIL64: u16 = 7;
const RATE_AT: usize = 8;
const BURST_AT: usize = 24;

/// Rates in `struct tc_ratespec` count Ethernet frames (`TC_LINKLAYER_ETHERNET`) and need no tables.
const ETHERNET: u32 = u32::from_ne_bytes([0, 1, 0, 0]);

/// Nanoseconds in which the kernel counts a burst, as a power of two.
const TICK_SHIFT: u32 = 6;

/// How fast one direction of one pod may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its handle, as the programs put it on packets.
    pub handle: u32,
    /// Bytes of IP packets a second.
    pub rate: u64,
    /// What may be sent at once after a pause, as nanoseconds of that rate.
    pub burst_ns: u64,
    /// Bytes of IP packets that wait at most.
    pub queue: u64,
    /// Bytes of a full packet.
    pub mtu: u32,
}

impl Class {
    /// The handle of the class with that number, which is from [`Class::FIRST`] to [`Class::LAST`].
    pub const fn handle(number: u16) -> u32 {
        (MAJOR as u32) << 16 | number as u32
    }

    /// Its number.
    pub const fn number(handle: u32) -> u16 {
        (handle & 0xffff) as u16
    }

    /// The number is the major of its queue's handle, too: not those of the entrance's own.
    pub const FIRST: u16 = 16;
    /// Higher ones the kernel gives out by itself.
    pub const LAST: u16 = 0x7fff;

    /// The same in frames, so that full packets are right to the byte.
    fn frames(&self, bytes: u64) -> u64 {
        let mtu = u64::from(self.mtu.max(1));
        u64::try_from(u128::from(bytes) * u128::from(mtu + LINK) / u128::from(mtu)).unwrap_or(u64::MAX)
    }

    /// Rate in frames as `htb` keeps it, and burst in ticks.
    fn parameters(&self) -> (u32, u32) {
        let rate = u32::try_from(self.frames(self.rate)).unwrap_or(u32::MAX);
        (rate, u32::try_from(self.burst_ns >> TICK_SHIFT).unwrap_or(u32::MAX))
    }

    fn limit(&self) -> u32 {
        u32::try_from(self.frames(self.queue)).unwrap_or(u32::MAX)
    }

    fn options(&self) -> Vec<u8> {
        let (rate, burst) = self.parameters();
        let spec = [ETHERNET, 0, rate];
        // Rate and ceiling, their bursts, quantum, level, priority.
        let parameters = [&spec[..], &spec, &[burst, burst, QUANTUM, 0, 0]].concat();
        let mut options = words(PARMS, &parameters);
        let rate = self.frames(self.rate);
        if u32::try_from(rate).is_err() {
            let bytes = rate.to_ne_bytes();
            let halves = [[bytes[0], bytes[1], bytes[2], bytes[3]], [bytes[4], bytes[5], bytes[6], bytes[7]]];
            let halves = halves.map(u32::from_ne_bytes);
            options.extend([words(RATE64, &halves), words(CEIL64, &halves)].concat());
        }
        options
    }

    fn requests(&self, device: u32) -> [Request; 2] {
        let (class, queue) = handles(self.handle);
        let new = message(device, class, TcHandle { major: MAJOR, minor: 0 }, "htb", self.options());
        let leaf = message(device, queue, class, "bfifo", self.limit().to_ne_bytes().to_vec());
        [
            (RouteNetlinkMessage::NewTrafficClass(new), NLM_F_CREATE),
            (RouteNetlinkMessage::NewQueueDiscipline(leaf), NLM_F_CREATE),
        ]
    }
}

/// Of a class, and of the queue behind it.
fn handles(handle: u32) -> (TcHandle, TcHandle) {
    let number = Class::number(handle);
    (TcHandle { major: MAJOR, minor: number }, TcHandle { major: number, minor: 0 })
}

/// Makes or changes classes.
pub(super) fn set(socket: &mut Socket, device: u32, classes: &[Class]) -> Result<(), NodeError> {
    let requests = classes.iter().flat_map(|class| class.requests(device));
    let answers = socket.apply_all(requests).map_err(failed("send", || SHAPER))?;
    let calls = ["RTM_NEWTCLASS", "RTM_NEWQDISC"].into_iter().cycle();
    for ((answer, call), class) in answers.into_iter().zip(calls).zip(classes.iter().flat_map(|class| [class, class])) {
        answer.map_err(failed(call, || name(class.handle)))?;
    }
    Ok(())
}

/// Compares classes with those of the kernel.
pub(super) fn verify(socket: &mut Socket, device: u32, classes: &[Class]) -> Result<(), NodeError> {
    for class in classes {
        let missing = || NodeError::Missing { object: name(class.handle) };
        let found = get(socket, device, class.handle)?.ok_or_else(missing)?;
        let (options, queue) = (options(&found), u32::from(Class::number(class.handle)) << 16);
        let parameters = attribute(&options, PARMS).unwrap_or_default();
        let (rate, burst) = class.parameters();
        for (what, found, expected) in [
            ("rate", word(parameters, RATE_AT), rate),
            ("burst", word(parameters, BURST_AT), burst),
            ("queue", Some(found.header.info), queue),
        ] {
            if found != Some(expected) {
                let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
                let object = format!("{what} of {}", name(class.handle));
                return Err(NodeError::Differs { object, found, expected: expected.to_string() });
            }
        }
    }
    Ok(())
}

/// Removes classes; one that is gone is no error.
pub(super) fn remove(socket: &mut Socket, device: u32, handles: &[u32]) -> Result<(), NodeError> {
    for handle in handles {
        let gone = socket.apply((RouteNetlinkMessage::DelTrafficClass(query(device, self::handles(*handle).0)), 0));
        let gone = unless_gone(unless_gone(gone, Errno::ENOENT), Errno::ENODEV);
        gone.map_err(failed("RTM_DELTCLASS", || name(*handle)))?;
    }
    Ok(())
}

/// Handles of every class.
pub(super) fn all(socket: &mut Socket, device: u32) -> Result<Vec<u32>, NodeError> {
    let request = RouteNetlinkMessage::GetTrafficClass(query(device, TcHandle::UNSPEC));
    let classes = socket.dump(&request).map_err(failed("RTM_GETTCLASS", || SHAPER))?.into_iter();
    let handles = classes.filter_map(|answer| match answer {
        RouteNetlinkMessage::NewTrafficClass(class) if class.header.handle.major == MAJOR => {
            Some(Class::handle(class.header.handle.minor))
        }
        _ => None,
    });
    Ok(handles.collect())
}

/// Packets that the class's queue had no room for.
pub(super) fn drops(socket: &mut Socket, device: u32, handle: u32) -> Result<u64, NodeError> {
    let attributes = get(socket, device, handle)?.map(|class| class.attributes).unwrap_or_default();
    let stats = attributes.into_iter().find_map(|attribute| match attribute {
        TcAttribute::Stats2(stats) => Some(stats),
        _ => None,
    });
    let drops = stats.into_iter().flatten().map(|part| match part {
        TcStats2::Queue(queue) => u64::from(queue.drops),
        _ => 0,
    });
    Ok(drops.sum())
}

fn get(socket: &mut Socket, device: u32, handle: u32) -> Result<Option<TcMessage>, NodeError> {
    match socket.get_echoed(RouteNetlinkMessage::GetTrafficClass(query(device, handles(handle).0))) {
        Ok(RouteNetlinkMessage::NewTrafficClass(found)) => Ok(Some(found)),
        Ok(_) => Ok(None),
        Err(error) if is(&error, Errno::ENOENT) => Ok(None),
        Err(error) => Err(failed("RTM_GETTCLASS", || name(handle))(error)),
    }
}

fn query(device: u32, handle: TcHandle) -> TcMessage {
    let mut message = TcMessage::with_index(device.cast_signed());
    message.header.handle = handle;
    message
}

/// As tc(8) writes it.
fn name(handle: u32) -> String {
    format!("class {MAJOR}:{:x} of {SHAPER}", Class::number(handle))
}

/// The bytes of a message's options.
fn options(message: &TcMessage) -> Vec<u8> {
    let raw = |nla: &DefaultNla| {
        let mut bytes = vec![0; nla.value_len()];
        nla.emit_value(&mut bytes);
        bytes
    };
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().find_map(|option| match option {
            TcOption::Other(nla) => Some(raw(nla)),
            _ => None,
        }),
        TcAttribute::Other(nla) if nla.kind() == OPTIONS => Some(raw(nla)),
        _ => None,
    });
    options.unwrap_or_default()
}

/// The value of an attribute among others.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let half = |at: usize| Some(u16::from_ne_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let (length, kind) = (usize::from(half(0)?), half(2)?);
        if kind == wanted {
            return bytes.get(4..length);
        }
        bytes = bytes.get(length.next_multiple_of(4).max(4)..)?;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_counts_frames_so_that_full_packets_are_right() {
        let class = Class { handle: Class::handle(16), rate: 1_250_000, burst_ns: 5_000_000, queue: 62_500, mtu: 1400 };
        assert_eq!(class.parameters(), (1_262_500, 78_125));
        assert_eq!(class.limit(), 63_125);
        let options = class.options();
        let parameters = attribute(&options, PARMS).unwrap();
        assert_eq!(
            (parameters.len(), word(parameters, RATE_AT), word(parameters, 20)),
            (44, Some(1_262_500), Some(1_262_500))
        );
        assert_eq!((word(parameters, BURST_AT), attribute(&options, RATE64)), (Some(78_125), None));
    }

    #[test]
    fn a_rate_of_more_than_32_bits_has_an_attribute_of_its_own() {
        let class = Class { handle: Class::handle(16), rate: 5 << 32, burst_ns: u64::MAX, queue: u64::MAX, mtu: 0 };
        let options = class.options();
        let wide = attribute(&options, RATE64).unwrap();
        assert_eq!(wide, class.frames(5 << 32).to_ne_bytes());
        assert_eq!(class.parameters(), (u32::MAX, u32::MAX));
        assert_eq!(class.limit(), u32::MAX);
    }

    #[test]
    fn options_that_make_no_sense_have_no_attributes() {
        assert_eq!(attribute(&[0, 0, 9, 0, 0, 0], 1), None);
        assert_eq!(attribute(&[200, 0, 1, 0], 1), None);
        assert_eq!(attribute(&[], 1), None);
    }
}

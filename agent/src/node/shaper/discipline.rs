//! The queueing discipline of the entrance, and the messages that it and its classes are made by.

use std::io;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use nix::errno::Errno;

use super::device::Pair;
use super::{ShaperMode, failed};
use crate::node::NodeError;
use crate::node::error::is;
use crate::node::links::SHAPER;
use crate::node::netlink::Socket;

/// What holds the rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A departure time for each packet, kept by `fq`.
    Edt,
    /// A class of `htb` for each pod and direction.
    Htb,
}

impl Method {
    /// The word that people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edt => "edt",
            Self::Htb => "htb",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Edt => "fq",
            Self::Htb => "htb",
        }
    }

    /// Handles differ, so that one can take the place of the other.
    const fn major(self) -> u16 {
        match self {
            Self::Htb => MAJOR,
            Self::Edt => MAJOR + 1,
        }
    }

    /// `linux/pkt_sched.h`: attributes of either.
    fn options(self) -> Vec<u8> {
        match self {
            // TCA_FQ_PLIMIT, TCA_FQ_FLOW_PLIMIT: the programs keep the queues short, `fq` need not.
            // TCA_FQ_RATE_ENABLE: sockets of pods keep their own pacing, and go on doing it themselves.
            Self::Edt => [words(1, &[PACKETS]), words(2, &[PACKETS]), words(5, &[0])].concat(),
            // TCA_HTB_INIT: version, rate2quantum, class of those without (none), debug, packets sent without.
            // TCA_HTB_DIRECT_QLEN: those without a class any more.
            Self::Htb => [words(2, &[3, 10, 0, 0, 0]), words(5, &[1000])].concat(),
        }
    }
}

/// Major number of the classes' handles.
pub(super) const MAJOR: u16 = 1;

/// More than would ever wait.
const PACKETS: u32 = 1_000_000;

/// `TCA_OPTIONS` of `linux/rtnetlink.h`.
pub(super) const OPTIONS: u16 = 2;

/// Finds out what the kernel has, and has it; whether it is new. What stands and will do stays.
pub(super) fn ensure(socket: &mut Socket, pair: &Pair, mode: ShaperMode) -> Result<(Method, bool), NodeError> {
    let choice: &[Method] = match mode {
        ShaperMode::Auto => &[Method::Edt, Method::Htb],
        ShaperMode::Edt => &[Method::Edt],
        ShaperMode::Htb => &[Method::Htb],
    };
    if let Some(standing) = choice.iter().find(|method| method.kind() == pair.discipline) {
        return Ok((*standing, false));
    }
    for method in choice {
        let handle = TcHandle { major: method.major(), minor: 0 };
        let request = message(pair.entrance, handle, TcHandle::ROOT, method.kind(), method.options());
        match socket.apply((RouteNetlinkMessage::NewQueueDiscipline(request), NLM_F_CREATE | NLM_F_REPLACE)) {
            Ok(()) => return Ok((*method, true)),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(failed("RTM_NEWQDISC", || SHAPER)(error)),
        }
    }
    let kinds: Vec<_> = choice.iter().map(|method| format!("sch_{}", method.kind())).collect();
    Err(NodeError::NoShaper { modules: kinds.join(" nor ") })
}

/// Whether the kernel has no such queueing discipline.
fn is_missing(error: &io::Error) -> bool {
    is(error, Errno::ENOENT) || is(error, Errno::EOPNOTSUPP)
}

/// A message about a queueing discipline or a class.
pub(super) fn message(device: u32, handle: TcHandle, parent: TcHandle, kind: &str, options: Vec<u8>) -> TcMessage {
    let mut message = TcMessage::with_index(device.cast_signed());
    (message.header.handle, message.header.parent) = (handle, parent);
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    if !options.is_empty() {
        message.attributes.push(TcAttribute::Other(DefaultNla::new(OPTIONS, options)));
    }
    message
}

/// An attribute of words in the machine's order.
pub(super) fn words(kind: u16, words: &[u32]) -> Vec<u8> {
    let length = u16::try_from(4 + words.len() * 4).unwrap_or(u16::MAX);
    let head = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    head.into_iter().chain(words.iter().flat_map(|word| word.to_ne_bytes())).collect()
}

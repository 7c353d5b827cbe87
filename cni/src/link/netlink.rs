//! A route netlink socket (RFC 3549): requests go out in batches, one system call each way.

use std::io;

use netlink_packet_core::{
    DecodeError, DefaultNla, ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla, NlasIterator, Parseable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute};
use netlink_packet_route::route::{RouteAddress, RouteAttribute};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

/// Room for a datagram: the kernel fills at most this much of a dump into one.
const RECEIVE_SIZE: usize = 32 << 10;
/// How often a dump is asked for again when the kernel says that it changed meanwhile.
const DUMP_TRIES: usize = 5;

/// A socket in the network namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// One request of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What it does, for people.
    call: &'static str,
    message: RouteNetlinkMessage,
    flags: u16,
}

/// A request that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{call}{object} failed{reason}")]
pub(crate) struct Refusal {
    /// Its place in the batch.
    pub(crate) index: usize,
    pub(crate) errno: Errno,
    call: &'static str,
    /// What it was about, after a space.
    object: String,
    /// The kernel's own words after a colon, where it has any.
    reason: String,
    source: io::Error,
}

/// The kernel could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetlinkError {
    #[error("netlink: {call} failed")]
    Socket { call: &'static str, source: io::Error },
    #[error("netlink: the kernel's answer is not understood")]
    Decode(#[from] DecodeError),
    #[error("netlink: {call} changed while it was read")]
    Interrupted { call: &'static str },
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What the kernel answered to a batch.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) messages: Vec<RouteNetlinkMessage>,
    pub(crate) refusals: Vec<Refusal>,
}

impl Request {
    /// A request with flags beyond `NLM_F_REQUEST`.
    pub(crate) fn new(call: &'static str, message: RouteNetlinkMessage, flags: u16) -> Self {
        Self { call, message, flags }
    }
}

impl NetlinkError {
    /// The kernel's reason to refuse.
    pub(crate) fn errno(&self) -> Option<Errno> {
        if let Self::Refused(refusal) = self { Some(refusal.errno) } else { None }
    }
}

impl Answer {
    /// The messages, or the first refusal.
    pub(crate) fn complete(self) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        match self.refusals.into_iter().next() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(self.messages),
        }
    }
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let socket = Socket::new(NETLINK_ROUTE).map_err(failed("socket"))?;
        // The kernel's reasons in words, without our own request sent back.
        socket.set_ext_ack(true).map_err(failed("setsockopt NETLINK_EXT_ACK"))?;
        socket.set_cap_ack(true).map_err(failed("setsockopt NETLINK_CAP_ACK"))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends all requests at once; the kernel carries them out in order and does not stop at one that it refuses.
    pub(crate) fn batch(&mut self, requests: Vec<Request>) -> Result<Answer, NetlinkError> {
        let Some(last) = requests.len().checked_sub(1) else { return Ok(Answer::default()) };
        let first = self.sequence;
        let calls: Vec<_> = requests.iter().map(|request| request.call).collect();
        let mut bytes = Vec::with_capacity(1024);
        let mut sent = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            // Refusals come unasked; the acknowledgement of the last request is the end of the answer.
            let ack = if index == last { NLM_F_ACK } else { 0 };
            sent.push(self.append(&mut bytes, request.message, request.flags | ack));
        }
        self.send(&bytes)?;
        let mut answer = Answer::default();
        loop {
            for message in self.receive()? {
                let index = message.header.sequence_number.wrapping_sub(first) as usize;
                // An answer to an earlier batch that was given up.
                let (Some(call), Some(request)) = (calls.get(index), sent.get(index)) else { continue };
                match message.payload {
                    NetlinkPayload::Error(error) => {
                        answer.refusals.extend(refusal(index, call, request, &message.header, &error));
                        if index == last {
                            return Ok(answer);
                        }
                    }
                    NetlinkPayload::InnerMessage(inner) => answer.messages.push(inner),
                    _ => {}
                }
            }
        }
    }

    /// Reads a whole table.
    pub(crate) fn dump(
        &mut self,
        call: &'static str,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        for _ in 0..DUMP_TRIES {
            if let Some(messages) = self.try_dump(call, message.clone())? {
                return Ok(messages);
            }
        }
        Err(NetlinkError::Interrupted { call })
    }

    /// `None` when the table changed while it was read.
    fn try_dump(
        &mut self,
        call: &'static str,
        message: RouteNetlinkMessage,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>, NetlinkError> {
        let sequence = self.sequence;
        let mut bytes = Vec::new();
        let request = self.append(&mut bytes, message, NLM_F_DUMP);
        self.send(&bytes)?;
        let mut found = Vec::new();
        let mut whole = true;
        loop {
            for message in self.receive()?.into_iter().filter(|message| message.header.sequence_number == sequence) {
                whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(whole.then_some(found)),
                    NetlinkPayload::Error(error) => match refusal(0, call, &request, &message.header, &error) {
                        Some(refusal) => return Err(refusal.into()),
                        None => return Ok(whole.then_some(found)),
                    },
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    _ => {}
                }
            }
        }
    }

    fn append(
        &mut self,
        bytes: &mut Vec<u8>,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> NetlinkMessage<RouteNetlinkMessage> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..start + message.buffer_len()]);
        message
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        self.socket.send(bytes, 0).map_err(failed("send"))?;
        Ok(())
    }

    fn receive(&self) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>, NetlinkError> {
        let mut buffer = Vec::with_capacity(RECEIVE_SIZE);
        self.socket.recv(&mut buffer, 0).map_err(failed("recv"))?;
        let mut messages = Vec::new();
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::deserialize(rest)?;
            let length = (message.header.length as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[length..];
            messages.push(message);
        }
        Ok(messages)
    }
}

fn refusal(
    index: usize,
    call: &'static str,
    request: &NetlinkMessage<RouteNetlinkMessage>,
    header: &NetlinkHeader,
    error: &ErrorMessage,
) -> Option<Refusal> {
    error.code?;
    let object = match &request.payload {
        NetlinkPayload::InnerMessage(message) => object(message),
        _ => String::new(),
    };
    let errno = Errno::from_raw(error.raw_code().abs());
    let words = if header.flags & NLM_F_ACK_TLVS == 0 { String::new() } else { reason(&error.header) };
    let reason = if words.is_empty() { words } else { format!(": {words}") };
    let object = if object.is_empty() { object } else { format!(" {object}") };
    Some(Refusal { index, errno, call, object, reason, source: error.to_io() })
}

/// `NLMSGERR_ATTR_MSG` after the header of the refused request.
fn reason(payload: &[u8]) -> String {
    const MESSAGE: u16 = 1;
    const HEADER_LEN: usize = 16;
    let attributes = payload.get(HEADER_LEN..).unwrap_or_default();
    let attribute = NlasIterator::new(attributes).flatten().find(|attribute| attribute.kind() == MESSAGE);
    let text = attribute.and_then(|attribute| DefaultNla::parse(&attribute).ok()).map(|nla| {
        let mut text = vec![0; nla.value_len()];
        nla.emit_value(&mut text);
        text
    });
    String::from_utf8_lossy(&text.unwrap_or_default()).trim_end_matches('\0').to_owned()
}

/// The address, destination or name that a request is about.
fn object(message: &RouteNetlinkMessage) -> String {
    let named = match message {
        RouteNetlinkMessage::NewAddress(address) => address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(format!("{ip}/{}", address.header.prefix_len)),
            _ => None,
        }),
        RouteNetlinkMessage::NewRoute(route) => route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(to)) => {
                Some(format!("{to}/{}", route.header.destination_prefix_length))
            }
            RouteAttribute::Destination(RouteAddress::Inet6(to)) => {
                Some(format!("{to}/{}", route.header.destination_prefix_length))
            }
            _ => None,
        }),
        RouteNetlinkMessage::NewNeighbour(neighbour) => {
            neighbour.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(to)) => Some(to.to_string()),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(to)) => Some(to.to_string()),
                _ => None,
            })
        }
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::GetLink(link) => {
            let name = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            name.or_else(|| Some(format!("with index {}", link.header.index)))
        }
        _ => None,
    };
    named.unwrap_or_default()
}

fn failed(call: &'static str) -> impl FnOnce(io::Error) -> NetlinkError {
    move |source| NetlinkError::Socket { call, source }
}

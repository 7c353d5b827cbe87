//! A blocking route-netlink socket: many requests in one system call, every answer typed.
//!
//! The kernel works a request off inside `send`, so a caller waits as long as somebody else holds the rtnl lock.

use std::io;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_ECHO, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket as RawSocket, SocketAddr};

/// Most that the kernel puts into one datagram of a dump.
const DATAGRAM: usize = 32 * 1024;

/// How often a dump is begun anew because the tables changed under it.
const DUMP_TRIES: usize = 8;

/// Requests in one system call; their answers have to fit the socket's receive buffer.
const BATCH: usize = 64;

/// Bytes of netlink's own header.
const HEADER: usize = 16;

/// `RTMGRP_LINK`: links.
pub(crate) const LINKS: u32 = 1;
/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`: addresses.
pub(crate) const ADDRESSES: u32 = 0x10 | 0x100;
/// `RTMGRP_IPV4_ROUTE` and `RTMGRP_IPV6_ROUTE`: routes.
pub(crate) const ROUTES: u32 = 0x40 | 0x400;

/// A request in bytes, of a kind that no type of ours tells of.
pub(super) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    // Bodies are some hundred bytes long.
    header.length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    header.message_type = kind;
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let mut message = vec![0; HEADER];
    header.emit(&mut message);
    message.extend(body);
    message
}

/// A request, and the flags that it needs beside `NLM_F_REQUEST` and `NLM_F_ACK`.
pub(crate) type Request = (RouteNetlinkMessage, u16);

/// A socket of the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    raw: RawSocket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket for requests.
    pub(crate) fn open() -> io::Result<Self> {
        let mut raw = RawSocket::new(NETLINK_ROUTE)?;
        raw.bind_auto()?;
        raw.connect(&SocketAddr::new(0, 0))?;
        raw.set_cap_ack(true)?;
        // Without it the kernel ignores the filters of a dump.
        raw.set_netlink_get_strict_chk(true)?;
        Ok(Self::with(raw))
    }

    /// Opens a socket that hears of what comes and goes in these groups: [`LINKS`] and the others.
    pub(crate) fn open_events(groups: u32) -> io::Result<Self> {
        let mut raw = RawSocket::new(NETLINK_ROUTE)?;
        raw.bind(&SocketAddr::new(0, groups))?;
        Ok(Self::with(raw))
    }

    fn with(raw: RawSocket) -> Self {
        Self { raw, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) }
    }

    /// Carries out one request.
    pub(crate) fn apply(&mut self, request: Request) -> io::Result<()> {
        self.apply_all([request])?.pop().unwrap_or(Ok(()))
    }

    /// Carries out requests in their order, all of them whatever becomes of each; answers in the same order.
    pub(crate) fn apply_all(&mut self, requests: impl IntoIterator<Item = Request>) -> io::Result<Vec<io::Result<()>>> {
        let mut requests = requests.into_iter().fuse();
        let mut answers = Vec::new();
        loop {
            let (first, before) = (self.sequence.wrapping_add(1), answers.len());
            let mut bytes = Vec::new();
            let mut batch = requests.by_ref().take(BATCH).peekable();
            while let Some((message, flags)) = batch.next() {
                // Of the others the kernel tells only what failed, before it answers the last.
                let last = if batch.peek().is_none() { NLM_F_ACK } else { 0 };
                self.write(&mut bytes, message, flags | last);
                answers.push(Ok(()));
            }
            if bytes.is_empty() {
                return Ok(answers);
            }
            self.raw.send(&bytes, 0)?;
            let last = answers.len() - before - 1;
            let mut done = false;
            while !done {
                self.receive(|message| {
                    let NetlinkMessage { header, payload, .. } = message?;
                    let at = usize::try_from(header.sequence_number.wrapping_sub(first)).unwrap_or(usize::MAX);
                    if let NetlinkPayload::Error(error) = payload
                        && at <= last
                    {
                        done |= at == last;
                        if error.code.is_some() {
                            answers[before + at] = Err(error.to_io());
                        }
                    }
                    Ok(())
                })?;
            }
        }
    }

    /// Asks for one object of traffic control, which answers those who listen for changes, and the one who asks only if
    /// told to.
    pub(crate) fn get_echoed(&mut self, message: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        let nothing = || Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        self.ask_all([message], NLM_F_ECHO, |answer| answer)?.pop().unwrap_or_else(nothing)
    }

    /// Asks for one object.
    pub(crate) fn get(&mut self, message: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        let nothing = || Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        self.get_all([message], |answer| answer)?.pop().unwrap_or_else(nothing)
    }

    /// Asks for many objects; what is made of the answers, in the order of the questions.
    pub(crate) fn get_all<T>(
        &mut self,
        messages: impl IntoIterator<Item = RouteNetlinkMessage>,
        each: impl Fn(io::Result<RouteNetlinkMessage>) -> T,
    ) -> io::Result<Vec<T>> {
        self.ask_all(messages, 0, each)
    }

    fn ask_all<T>(
        &mut self,
        messages: impl IntoIterator<Item = RouteNetlinkMessage>,
        flags: u16,
        each: impl Fn(io::Result<RouteNetlinkMessage>) -> T,
    ) -> io::Result<Vec<T>> {
        let mut messages = messages.into_iter().fuse();
        let mut answers = Vec::new();
        loop {
            let first = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            let mut batch: Vec<Option<T>> = Vec::with_capacity(BATCH);
            for message in messages.by_ref().take(BATCH) {
                self.write(&mut bytes, message, flags);
                batch.push(None);
            }
            if batch.is_empty() {
                return Ok(answers);
            }
            self.raw.send(&bytes, 0)?;
            while batch.iter().any(Option::is_none) {
                self.receive(|message| {
                    let NetlinkMessage { header, payload, .. } = message?;
                    let answer = match payload {
                        NetlinkPayload::InnerMessage(inner) => Ok(inner),
                        NetlinkPayload::Error(error) => Err(error.to_io()),
                        _ => return Ok(()),
                    };
                    let at = usize::try_from(header.sequence_number.wrapping_sub(first)).unwrap_or(usize::MAX);
                    if let Some(place) = batch.get_mut(at) {
                        *place = Some(each(answer));
                    }
                    Ok(())
                })?;
            }
            answers.extend(batch.into_iter().flatten());
        }
    }

    /// Asks for every object that matches; begins anew when the table changed meanwhile.
    ///
    /// An object that cannot be read is one of others (all that is ours is plain) and is left out.
    pub(crate) fn dump(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.dump_as(message, |_, _| true, Some)
    }

    /// The same, each object kept as what is made of it. Those that are not `wanted`, by their type and the bytes
    /// behind their netlink header, are not even read: tables may be large.
    pub(crate) fn dump_as<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        wanted: impl Fn(u16, &[u8]) -> bool,
        each: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..DUMP_TRIES {
            if let Some(objects) = self.dump_once(message.clone(), &wanted, &each)? {
                return Ok(objects);
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the kernel's table never stood still"))
    }

    fn dump_once<T>(
        &mut self,
        message: RouteNetlinkMessage,
        wanted: &impl Fn(u16, &[u8]) -> bool,
        each: &impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> io::Result<Option<Vec<T>>> {
        let mut bytes = Vec::new();
        let sequence = self.write(&mut bytes, message, NLM_F_DUMP);
        self.raw.send(&bytes, 0)?;
        let (mut objects, mut changed, mut done) = (Vec::new(), false, false);
        while !done {
            self.receive_wanted(wanted, |message| {
                let NetlinkMessage { header, payload, .. } = match message {
                    Ok(message) => message,
                    Err(error) => {
                        log::debug!("left out of a dump: {error}");
                        return Ok(());
                    }
                };
                if header.sequence_number != sequence {
                    return Ok(());
                }
                changed |= header.flags & NLM_F_DUMP_INTR != 0;
                match payload {
                    NetlinkPayload::InnerMessage(inner) => objects.extend(each(inner)),
                    NetlinkPayload::Done(end) if end.code != 0 => {
                        return Err(io::Error::from_raw_os_error(end.code.abs()));
                    }
                    NetlinkPayload::Done(_) => done = true,
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok((!changed).then_some(objects))
    }

    /// Waits for a datagram and hands on its messages, also those that cannot be read.
    pub(crate) fn receive(
        &mut self,
        each: impl FnMut(io::Result<NetlinkMessage<RouteNetlinkMessage>>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.receive_wanted(&|_, _| true, each)
    }

    /// The same without those that are not wanted.
    pub(crate) fn receive_wanted(
        &mut self,
        wanted: &impl Fn(u16, &[u8]) -> bool,
        mut each: impl FnMut(io::Result<NetlinkMessage<RouteNetlinkMessage>>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.buffer.clear();
        self.raw.recv(&mut self.buffer, 0)?;
        let mut rest = self.buffer.as_slice();
        while let Some(length) = rest.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let Some(bytes) = rest.get(..length).filter(|_| length > 0) else { break };
            let kind = bytes.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |kind| u16::from_ne_bytes(*kind));
            // Types below 16 are netlink's own: errors and ends.
            if kind < 16 || bytes.get(HEADER..).is_some_and(|rest| wanted(kind, rest)) {
                each(NetlinkMessage::deserialize(bytes).map_err(io::Error::other))?;
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }

    /// Appends the request to the bytes; its sequence number.
    fn write(&mut self, bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, message.into());
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
        self.sequence
    }
}

//! clsact: each hook is a filter of fixed priority on a queueing discipline that others may use as well.
//!
//! A filter outlives the agent by itself, and a new agent replaces it in place. Whether the queueing discipline is
//! ours to remove is kept in the filter's handle.

use std::io;

use aya::programs::TcAttachType;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};
use nix::errno::Errno;
use weft_abi::Hook;

use crate::datapath::DatapathError;
use crate::datapath::devices::Devices;
use crate::datapath::hook::{Device, Role, attach_type, device_name};
use crate::node::netlink::Socket;

/// Priority of our filters; lower ones come first, and those without a wish get 49152.
const PRIORITY: u16 = b'W' as u16;

/// Handle of a filter on a queueing discipline that we made.
const ON_OURS: u32 = 1;

/// Handle of a filter on one that was there before.
const ON_OTHERS: u32 = 2;

/// The queueing discipline that filters of both sides hang on.
const CLSACT: &str = "clsact";

/// Every protocol, in network byte order (`ETH_P_ALL` of `linux/if_ether.h`).
const ANY_PROTOCOL: u16 = 3_u16.to_be();

/// A filter of ours as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Filter {
    handle: u32,
    program: u32,
    /// By the name that the agent which attached it gave; unknown to us if it was a newer one.
    hook: Option<Hook>,
}

/// Filters at one hook.
#[derive(Debug, Default)]
struct Filters {
    ours: Option<Filter>,
    others: bool,
}

/// Attaches the programs, or puts them in the place of older ones; adds to `fresh` the hooks that had none.
pub(super) fn ensure(programs: &[(Hook, i32)], device: Device, fresh: &mut Vec<Hook>) -> Result<(), DatapathError> {
    let mut socket = open(device)?;
    let made = match socket.apply((RouteNetlinkMessage::NewQueueDiscipline(qdisc(device)), NLM_F_CREATE | NLM_F_EXCL)) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => false,
        Err(error) => return Err(failed("RTM_NEWQDISC", device)(error)),
    };
    let mut before = vec![None; programs.len()];
    if !made {
        for ((hook, _), before) in programs.iter().zip(&mut before) {
            *before = filters(&mut socket, *hook, device)?.ours;
        }
    }
    let ours = made || before.iter().flatten().any(|filter| filter.handle == ON_OURS);
    for (&(hook, program_fd), before) in programs.iter().zip(before) {
        let handle = before.map_or(if ours { ON_OURS } else { ON_OTHERS }, |filter| filter.handle);
        let message = RouteNetlinkMessage::NewTrafficFilter(filter(device, hook, handle, Some(program_fd)));
        socket.apply((message, NLM_F_CREATE | NLM_F_REPLACE)).map_err(failed("RTM_NEWTFILTER", device))?;
        if before.is_none() {
            fresh.push(hook);
        }
    }
    Ok(())
}

/// Whether the program runs there.
pub(super) fn is_attached(program_id: u32, hook: Hook, device: Device) -> Result<bool, DatapathError> {
    let ours = filters(&mut open(device)?, hook, device)?.ours;
    Ok(ours.is_some_and(|filter| filter.program == program_id))
}

/// Removes our filters of these hooks of one device, and the queueing discipline if we made it and no filter is left on it.
pub(in crate::datapath) fn remove(hooks: &[Hook], device: Device) -> Result<(), DatapathError> {
    let Some(first) = hooks.first() else { return Ok(()) };
    let mut socket = open(device)?;
    let (mut ours, mut used) = (false, false);
    for &hook in Role::of(*first).hooks() {
        let found = filters(&mut socket, hook, device)?;
        used |= found.others;
        let Some(Filter { handle, .. }) = found.ours else { continue };
        if !hooks.contains(&hook) {
            used = true;
            continue;
        }
        ours |= handle == ON_OURS;
        let message = RouteNetlinkMessage::DelTrafficFilter(filter(device, hook, handle, None));
        unless_gone(socket.apply((message, 0))).map_err(failed("RTM_DELTFILTER", device))?;
    }
    if ours && !used {
        let message = RouteNetlinkMessage::DelQueueDiscipline(qdisc(device));
        unless_gone(socket.apply((message, 0))).map_err(failed("RTM_DELQDISC", device))?;
    }
    Ok(())
}

/// Every device of this namespace that has filters of ours for these roles, whoever attached them.
pub(in crate::datapath) fn find(roles: &[Role]) -> Result<Devices, DatapathError> {
    let everywhere = Device { name: "any device", index: 0 };
    let mut socket = open(everywhere)?;
    let all = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let mut found = Devices::new();
    for answer in socket.dump(&all).map_err(failed("RTM_GETQDISC", everywhere))? {
        let RouteNetlinkMessage::NewQueueDiscipline(qdisc) = answer else { continue };
        let index = qdisc.header.index.cast_unsigned();
        if !qdisc.attributes.contains(&TcAttribute::Kind(CLSACT.to_owned())) {
            continue;
        }
        // One that is gone by now has no filters either.
        let Some(name) = device_name(index) else { continue };
        for &side in Role::Pod.hooks() {
            let ours = filters(&mut socket, side, Device { name: &name, index })?.ours;
            let role = ours.and_then(|filter| filter.hook).map(Role::of);
            if let Some(role) = role.filter(|role| roles.contains(role)) {
                found.insert(name.clone(), (index, role));
            }
        }
    }
    Ok(found)
}

fn filters(socket: &mut Socket, hook: Hook, device: Device) -> Result<Filters, DatapathError> {
    let mut query = message(device);
    query.header.parent = parent(hook);
    let answers = match socket.dump(&RouteNetlinkMessage::GetTrafficFilter(query)) {
        Err(error) if is_gone(&error) => return Ok(Filters::default()),
        other => other.map_err(failed("RTM_GETTFILTER", device))?,
    };
    let mut filters = Filters::default();
    for answer in answers {
        let RouteNetlinkMessage::NewTrafficFilter(filter) = answer else { continue };
        match parse(&filter) {
            Some(ours) => filters.ours = Some(ours),
            // Each priority is listed once more, without a handle, for itself.
            None => filters.others |= filter.header.handle != TcHandle::UNSPEC,
        }
    }
    Ok(filters)
}

fn parse(message: &TcMessage) -> Option<Filter> {
    let handle = u32::from(message.header.handle);
    let ours = message.header.info >> 16 == u32::from(PRIORITY) && [ON_OURS, ON_OTHERS].contains(&handle);
    let bpf = message.attributes.contains(&TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    (ours && bpf).then(|| {
        let options = message.attributes.iter().filter_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        });
        let mut filter = Filter { handle, program: 0, hook: None };
        for option in options.flatten() {
            match option {
                TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => filter.program = *id,
                TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => {
                    filter.hook = Hook::ALL.into_iter().find(|hook| *name == program_name(*hook));
                }
                _ => {}
            }
        }
        filter
    })
}

fn filter(device: Device, hook: Hook, handle: u32, program_fd: Option<i32>) -> TcMessage {
    let mut message = message(device);
    message.header.parent = parent(hook);
    message.header.handle = handle.into();
    message.header.info = u32::from(PRIORITY) << 16 | u32::from(ANY_PROTOCOL);
    message.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    if let Some(fd) = program_fd {
        message.attributes.push(TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(fd.cast_unsigned())),
            TcOption::Bpf(TcFilterBpfOption::ProgName(program_name(hook))),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]));
    }
    message
}

fn qdisc(device: Device) -> TcMessage {
    let mut message = message(device);
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    message.attributes.push(TcAttribute::Kind(CLSACT.to_owned()));
    message
}

fn message(device: Device) -> TcMessage {
    TcMessage::with_index(device.index.cast_signed())
}

fn parent(hook: Hook) -> TcHandle {
    let minor = match attach_type(hook) {
        TcAttachType::Egress => TcHandle::MIN_EGRESS,
        _ => TcHandle::MIN_INGRESS,
    };
    TcHandle { major: TcHandle::CLSACT.major, minor }
}

fn program_name(hook: Hook) -> String {
    format!("weft_{}", hook.name())
}

fn open(device: Device) -> Result<Socket, DatapathError> {
    Socket::open().map_err(failed("socket", device))
}

/// What the kernel answers when the device, its queueing discipline or the filter is not there.
fn is_gone(error: &io::Error) -> bool {
    [Errno::ENODEV, Errno::EINVAL, Errno::ENOENT].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

fn unless_gone(answer: io::Result<()>) -> io::Result<()> {
    answer.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
}

fn failed(call: &'static str, device: Device) -> impl FnOnce(io::Error) -> DatapathError {
    move |source| DatapathError::TrafficControl { call, device: device.name.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Device = Device { name: "weft00000000001", index: 9 };

    fn dumped(handle: u32, program: u32) -> TcMessage {
        let mut message = filter(DEVICE, Hook::FromPod, handle, None);
        message.attributes.push(TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgId(program)),
            TcOption::Bpf(TcFilterBpfOption::ProgName("weft_from_pod".to_owned())),
        ]));
        message
    }

    #[test]
    fn our_filter_is_known_by_priority_handle_and_kind() {
        assert_eq!(
            parse(&dumped(ON_OTHERS, 42)),
            Some(Filter { handle: ON_OTHERS, program: 42, hook: Some(Hook::FromPod) })
        );
        assert_eq!(parse(&dumped(7, 42)), None);
        let mut other = dumped(ON_OURS, 42);
        other.header.info = 1 << 16 | u32::from(ANY_PROTOCOL);
        assert_eq!(parse(&other), None);
        let mut other = dumped(ON_OURS, 42);
        other.attributes[0] = TcAttribute::Kind("u32".to_owned());
        assert_eq!(parse(&other), None);
    }
}

//! Programs at the root of the cgroups: by them processes of the node reach the ports of the node that are pods'.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkError};
use aya::programs::{CgroupAttachMode, CgroupSockAddr};
use nix::errno::Errno;
use weft_cni::api::PortsStatus;

use super::attach::fdinfo;
use super::hook::Role;
use super::loader::Programs;
use super::pins::{Pins, unpin};
use super::{Datapath, DatapathError, State, plain};
use crate::text;

/// The programs; each is a link that is pinned, so that it outlives the agent and a new agent replaces its program.
const PROGRAMS: [&str; 8] =
    ["connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6"];

/// Whether processes of the node reach ports of the node by their sockets.
#[derive(Debug, Default)]
pub(super) enum Sockets {
    /// Nobody has asked for it yet.
    #[default]
    Unknown,
    /// All processes in that cgroup and below do.
    Served(PathBuf),
    /// None does, and why.
    Missing(String),
}

impl Datapath {
    /// Attaches the programs for the node's own processes to a cgroup and all below it, in the place of older ones. To
    /// be called once the maps know the endpoints.
    ///
    /// Where there is no cgroup, or the kernel refuses, the older ones are removed and the status says why.
    pub fn join_cgroup(&self, cgroup: Option<&Path>) {
        let mut state = self.state();
        let State { programs, others, sockets, .. } = &mut *state;
        let own = &self.attacher.pins;
        let joined = match cgroup {
            Some(cgroup) => attach(programs, own, others, cgroup).map(|()| cgroup.to_owned()),
            None => Err(DatapathError::NoCgroup),
        };
        *sockets = match joined {
            Ok(cgroup) => Sockets::Served(cgroup),
            Err(error) => {
                for pins in [own].into_iter().chain(others.iter()) {
                    for error in remove(pins) {
                        log::warn!("{}", text::chain(&error));
                    }
                }
                Sockets::Missing(text::chain(&error))
            }
        };
    }

    /// Entries of `ports`, and how processes of the node reach them.
    pub fn ports_status(&self) -> PortsStatus {
        let state = self.state();
        let mut devices = state.devices.iter().flat_map(|devices| devices.values());
        let sockets = if state.serves_sockets() {
            "cgroup"
        } else if devices.any(|(_, role)| *role == Role::Loopback) {
            "loopback"
        } else {
            "none"
        };
        let (cgroup, problem) = match &state.sockets {
            Sockets::Served(cgroup) => (Some(cgroup.display().to_string()), None),
            Sockets::Missing(why) => (None, Some(why.clone())),
            Sockets::Unknown => (None, None),
        };
        PortsStatus {
            mappings: self.maps.count_ports().unwrap_or_default().into(),
            sockets: sockets.to_owned(),
            cgroup,
            problem,
        }
    }

    /// What processes of the node miss, as a sentence.
    pub(super) fn sockets_warning(&self) -> Option<String> {
        match &self.state().sockets {
            Sockets::Missing(why) => {
                Some(format!("processes of the node do not reach ports of the node by 127.0.0.1 and ::1: {why}"))
            }
            _ => None,
        }
    }
}

impl State {
    /// Whether processes of the node reach ports of the node by their sockets; if not, packets have to be changed.
    pub(super) fn serves_sockets(&self) -> bool {
        matches!(self.sockets, Sockets::Served(_))
    }
}

/// Has the kernel take the programs for cgroups, and attaches none.
pub(super) fn rehearse(programs: &mut Programs) -> Result<(), DatapathError> {
    netns_cookie()?;
    PROGRAMS.into_iter().try_for_each(|name| programs.for_cgroup(name).map(drop))
}

/// The kernel's number for the node's network namespace; 0 stands for the machine's first one.
pub(super) fn netns_cookie() -> Result<u64, DatapathError> {
    let failed = |call| move |source| DatapathError::System { call, source };
    let socket = UnixDatagram::unbound().map_err(failed("socket"))?;
    match plain::netns_cookie(socket.as_fd()) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOPROTOOPT as i32) => {
            let namespace = |path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
            // Of a container, /proc/1 is its own first process: the agent's is in the node's namespace anyway.
            let first = namespace("/proc/1/ns/net").and_then(|first| Ok(first == namespace("/proc/self/ns/net")?));
            if first.map_err(failed("stat /proc/1/ns/net"))? {
                return Ok(0);
            }
            Err(DatapathError::KernelTooOld {
                feature: "serving processes in a network namespace that is not the machine's first",
                needs: "5.14",
                found: super::probe::release()?,
                remedy: "",
            })
        }
        cookie => cookie.map_err(failed("getsockopt SO_NETNS_COOKIE")),
    }
}

/// Detaches and unpins every program for cgroups; what is gone already is no error.
pub(super) fn remove(pins: &Pins) -> Vec<DatapathError> {
    PROGRAMS.iter().filter_map(|name| take_off(&pins.cgroup_link(name)).err()).collect()
}

fn attach(programs: &mut Programs, pins: &Pins, others: &[Pins], cgroup: &Path) -> Result<(), DatapathError> {
    netns_cookie()?;
    let failed = |call| move |source| DatapathError::File { call, path: cgroup.to_owned(), source };
    let directory = File::open(cgroup).map_err(failed("open"))?;
    // The kernel's number for a cgroup is its inode's.
    let id = directory.metadata().map_err(failed("stat"))?.ino();
    for name in PROGRAMS {
        let program = programs.for_cgroup(name)?;
        if !adopt(program, name, pins, others, id)? {
            create(program, name, pins, cgroup, &directory)?;
        }
    }
    Ok(())
}

/// Lets a link that is pinned already, here or by another version, run our program; whether there was one. One that is
/// on another cgroup, or on one that is gone, is removed.
fn adopt(
    program: &CgroupSockAddr,
    name: &'static str,
    pins: &Pins,
    others: &[Pins],
    cgroup: u64,
) -> Result<bool, DatapathError> {
    let home = pins.cgroup_link(name);
    let elsewhere = others.iter().map(|pins| pins.cgroup_link(name));
    let mut adopted = false;
    for place in [home.clone()].into_iter().chain(elsewhere) {
        let Some(link) = open(&place)? else { continue };
        let [found] = fdinfo::read(link.as_raw_fd(), ["cgroup_id"])?;
        if adopted || found != cgroup || !update(&link, program, name, &place)? {
            take_off(&place)?;
            continue;
        }
        if place != home {
            fs::rename(&place, &home).map_err(failed("rename", &place))?;
        }
        adopted = true;
    }
    Ok(adopted)
}

/// Gives the link our program; false if its cgroup went away meanwhile.
fn update(link: &OwnedFd, program: &CgroupSockAddr, name: &'static str, place: &Path) -> Result<bool, DatapathError> {
    let fd = program.fd().map_err(|source| DatapathError::Program {
        call: "fd",
        program: name,
        device: place.display().to_string(),
        source: Box::new(source),
    })?;
    match plain::update(link.as_fd(), fd.as_fd()) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::ENOLINK as i32) => Ok(false),
        Err(error) => Err(failed("BPF_LINK_UPDATE", place)(error)),
    }
}

fn create(
    program: &mut CgroupSockAddr,
    name: &'static str,
    pins: &Pins,
    cgroup: &Path,
    directory: &File,
) -> Result<(), DatapathError> {
    let refused = |source| DatapathError::Program {
        call: "BPF_LINK_CREATE",
        program: name,
        device: cgroup.display().to_string(),
        source: Box::new(source),
    };
    let path = pins.cgroup_link(name);
    let taken = |source: LinkError| DatapathError::Link { call: "take", path: path.clone(), source };
    // Links stand beside those of others in any case, and the kernel wants no word of it.
    let id = program.attach(directory, CgroupAttachMode::Single).map_err(refused)?;
    let link = program.take_link(id).map_err(refused)?;
    let link = FdLink::try_from(link).map_err(taken)?;
    link.pin(&path).map(drop).map_err(|source| DatapathError::Pin { path: path.clone(), source })
}

/// Takes the link's program off its cgroup, and removes the pin; whether there was one.
fn take_off(path: &Path) -> Result<bool, DatapathError> {
    // What cannot be opened has nothing to be detached; what is detached already is at its end.
    if let Ok(Some(link)) = open(path) {
        plain::detach(link.as_fd()).map_err(failed("BPF_LINK_DETACH", path))?;
    }
    unpin(path)
}

fn open(path: &Path) -> Result<Option<OwnedFd>, DatapathError> {
    match plain::open(path) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("BPF_OBJ_GET", path)(error)),
    }
}

fn failed(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DatapathError {
    let path = path.to_owned();
    move |source| DatapathError::File { call, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_number_of_its_own() {
        let here = netns_cookie().unwrap();
        assert_eq!(here, netns_cookie().unwrap());
    }
}

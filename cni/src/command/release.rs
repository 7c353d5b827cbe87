//! Takes an attachment off the network: with the agent, or without it.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::api::{AttachmentKey, ErrorKind};
use crate::client::{Client, ClientError};
use crate::command::failure::Failure;
use crate::link::netlink::Netlink;
use crate::link::{host_ifname, link_group, veth};
use crate::path;
use crate::spool::{Release, Spool};

/// Pause before an agent that is busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How long the agent is waited for once the release is in the spool.
const SECOND_TRY: Duration = Duration::from_secs(2);

/// Releases the attachment. Without the agent the link is removed here and the release waits in the spool.
pub(super) fn release(client: &mut Client, key: &AttachmentKey, deadline: Instant) -> Result<(), Failure> {
    match delete(client, key, deadline) {
        Err(error) if error.is_away() => release_offline(client, key),
        other => Ok(other?),
    }
}

fn release_offline(client: &mut Client, key: &AttachmentKey) -> Result<(), Failure> {
    let run_dir = client.socket().parent().unwrap_or(Path::new("/")).to_owned();
    let removed = remove_link(&run_dir, key);
    let spooled = leave_in_spool(client, &run_dir, key);
    Failure::gather(removed.err().into_iter().chain(spooled.err()))
}

/// A link of the name that is not of this agent's group, and the link of an adopted endpoint, stay.
fn remove_link(run_dir: &Path, key: &AttachmentKey) -> Result<(), Failure> {
    // The agent makes its group from the directory's real path.
    let run_dir = run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned());
    veth::remove(&mut Netlink::open()?, &host_ifname(key), link_group(&run_dir))?;
    Ok(())
}

fn leave_in_spool(client: &mut Client, run_dir: &Path, key: &AttachmentKey) -> Result<(), Failure> {
    // Without the directory there is no record either: nothing was ever leased, or all of it was removed.
    if !run_dir.exists() {
        return Ok(());
    }
    let spool = Spool::new(run_dir);
    spool.add(&Release::now(key.clone())?)?;
    // An agent that started meanwhile may have read the spool before the release was there.
    match delete(client, key, Instant::now() + SECOND_TRY) {
        Ok(()) => Ok(spool.remove(key)?),
        Err(error) if error.is_away() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks the agent, again for as long as it is busy.
fn delete(client: &mut Client, key: &AttachmentKey, deadline: Instant) -> Result<(), ClientError> {
    loop {
        match client.delete(&path::attachment(key), deadline) {
            Err(error) if error.kind() == Some(ErrorKind::Busy) && Instant::now() + BUSY_PAUSE < deadline => {
                thread::sleep(BUSY_PAUSE);
            }
            other => return other,
        }
    }
}

//! What happens in directories, as it happens.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Events of directories; a thread waits for them.
#[derive(Debug)]
pub(crate) struct Events {
    inotify: Arc<Inotify>,
    /// Names of files; none where the event is about a directory itself.
    heard: UnboundedReceiver<Option<OsString>>,
}

impl Events {
    /// `purpose` names the thread, and the files in the log.
    pub(crate) fn start(purpose: &'static str) -> io::Result<Self> {
        let inotify = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC)?);
        let (sender, heard) = unbounded_channel();
        let waiting = Arc::clone(&inotify);
        thread::Builder::new().name(format!("weft-{purpose}")).spawn(move || {
            loop {
                let events = match waiting.read_events() {
                    Ok(events) => events,
                    Err(Errno::EINTR) => continue,
                    Err(error) => {
                        log::warn!("{purpose}: changes of files are seen late: {error}");
                        return;
                    }
                };
                for event in events {
                    if sender.send(event.name).is_err() {
                        return;
                    }
                }
            }
        })?;
        Ok(Self { inotify, heard })
    }

    /// Watches the directory; once more does no harm, and finds one that was replaced.
    pub(crate) fn watch(&self, directory: &Path) {
        let mask = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        if let Err(error) = self.inotify.add_watch(directory, mask) {
            log::debug!("{} cannot be watched: {error}", directory.display());
        }
    }
}

/// Waits for events, and answers all that have come; for ever where there are none.
pub(crate) async fn next(events: Option<&mut Events>) -> Vec<Option<OsString>> {
    let Some(events) = events else { return std::future::pending().await };
    let mut names = Vec::new();
    match events.heard.recv().await {
        Some(name) => names.push(name),
        None => std::future::pending().await,
    }
    while let Ok(name) = events.heard.try_recv() {
        names.push(name);
    }
    names
}

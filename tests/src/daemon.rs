//! Long-running processes, noted on disk so that a later process can end them.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::Netns;
use crate::site::{self, Site};

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    note: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts a command inside a network namespace, its output going to a file.
    pub fn spawn(site: &Site, netns: &Netns, command: &mut Command, log: &Path) -> Result<Self> {
        site::yield_to_signal();
        let program = command.get_program().display().to_string();
        let out = File::options().create(true).append(true).open(log).context("open a log")?;
        let err = out.try_clone().context("duplicate a log's descriptor")?;
        // A group of its own: Ctrl-C at a terminal is for us alone.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let child = netns.enter(|| command.spawn())?.with_context(|| format!("cannot start {program}"))?;
        let note = site.dir().join("pids").join(child.id().to_string());
        let mut daemon = Self { child, note, log: log.to_owned() };
        let started = start_time(daemon.pid()).unwrap_or_default();
        if let Err(error) = fs::write(&daemon.note, started) {
            daemon.end(Signal::SIGKILL)?;
            return Err(error).context("note a process");
        }
        Ok(daemon)
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("look after a child")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("signal a child")
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                let _ = fs::remove_file(&self.note);
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("process {} did not end within {limit:?}; its log:\n{}", self.pid(), self.log());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal and waits for the end.
    pub fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(signal)?;
        self.wait(Duration::from_secs(10))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.end(Signal::SIGKILL);
    }
}

/// Whether a process ended by this signal.
pub fn ended_by(status: ExitStatus, signal: Signal) -> bool {
    status.signal() == Some(signal as i32)
}

/// Kills every process noted in a directory, unless its number has passed to another one.
pub fn kill_noted(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let noted = fs::read_to_string(entry.path()).unwrap_or_default();
        let Ok(raw) = i32::try_from(number) else { continue };
        if start_time(number).is_none_or(|started| started != noted) {
            continue;
        }
        let _ = kill(Pid::from_raw(raw), Signal::SIGKILL);
        // Until it is gone it may hold mounts; a child that nobody waits for stays as a zombie.
        let deadline = Instant::now() + Duration::from_secs(2);
        while start_time(number).is_some() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// When a process started, in clock ticks since boot; `None` when it has ended.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses: fields count from behind its last one.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18).map(str::to_owned) }
}

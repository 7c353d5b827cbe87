//! Programs that run to their end, with a deadline.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::need;
use crate::netns::Netns;
use crate::wait;

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// From before its start until its end.
    pub took: Duration,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a command with this standard input to its end, whatever its exit status.
pub fn output(command: &mut Command, stdin: &[u8]) -> Result<Output> {
    let started = Instant::now();
    let mut child = command
        .stdin(if stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let (done, watch) = mpsc::channel::<()>();
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let late = watch.recv_timeout(wait::patience(DEADLINE)) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                // Not yet waited for, so the number is still this child's.
                let _ = kill(pid, Signal::SIGKILL);
            }
            late
        });
        let collected = collect(&mut child, stdin, started);
        drop(done);
        if watchdog.join().unwrap_or(false) {
            bail!("{} did not end within {DEADLINE:?}", command.get_program().display());
        }
        collected
    })
}

fn collect(child: &mut Child, stdin: &[u8], started: Instant) -> Result<Output> {
    let (pipe_in, pipe_out, pipe_err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = thread::scope(|scope| {
        let out = scope.spawn(move || read_all(pipe_out));
        let err = scope.spawn(move || read_all(pipe_err));
        if let Some(mut pipe) = pipe_in {
            // A program may refuse its input and end early.
            let _ = pipe.write_all(stdin);
        }
        (out.join().unwrap_or_default(), err.join().unwrap_or_default())
    });
    let status = child.wait().context("wait for a child")?;
    Ok(Output { status, stdout, stderr, took: started.elapsed() })
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

/// Runs a program of the machine and returns its standard output; a failure carries its standard error.
pub fn tool(name: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::new(need::tool(name)?);
    let output = output(command.args(args), &[])?;
    if !output.status.success() {
        bail!("{name} {}: {}: {}", args.join(" "), output.status, output.complaint().trim());
    }
    Ok(output.text())
}

/// [`tool`] inside a network namespace.
pub fn tool_in(netns: &Netns, name: &str, args: &[&str]) -> Result<String> {
    netns.enter(|| tool(name, args))?
}

/// Runs `ip` with these lines as one batch inside a network namespace.
pub fn ip_batch(netns: &Netns, lines: &[&str]) -> Result<()> {
    let batch = lines.join("\n") + "\n";
    let output = netns.enter(|| -> Result<Output> {
        output(Command::new(need::tool("ip")?).args(["-batch", "-"]), batch.as_bytes())
    })??;
    if !output.status.success() {
        bail!("ip -batch in {}: {}\n{batch}", netns.name(), output.complaint().trim());
    }
    Ok(())
}

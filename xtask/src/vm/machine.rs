//! A machine in QEMU, its processors emulated: stock kernels do not survive every KVM.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Kernel, Report, Suite, tree};
use crate::process;

/// A panic ends the machine at once. The emulated processor needs no mitigations and has a steady clock.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on tsc=reliable \
                            log_buf_len=4M";

/// Seconds that a machine may take.
const LIMIT: &str = "3000";

/// Boots a kernel with these tests, follows them to the end and reports.
pub(crate) fn boot(kernel: &Kernel, suite: &Suite) -> Result<Report> {
    let dir = super::dir().join("runs").join(kernel.series);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let (initramfs, output) = (dir.join("initramfs"), dir.join("output"));
    tree::pack(&dir.join("tree"), kernel, suite, &initramfs)?;
    let mut log = File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;

    let mut command = qemu(kernel, &initramfs, &dir.join("console"))?;
    let mut child = command.spawn().with_context(|| format!("cannot run {}", process::line(&command)))?;
    let started = Instant::now();
    let mut report = Report::new(kernel, suite.names(), dir.clone());
    for line in BufReader::new(child.stdout.take().context("QEMU has no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("cannot read what the machine says")?).into_owned();
        writeln!(log, "{:>7.1} {line}", started.elapsed().as_secs_f32())
            .with_context(|| format!("cannot write {}", output.display()))?;
        report.add(line.trim_end());
    }
    let status = child.wait().context("cannot wait for QEMU")?;
    if !status.success() {
        report.problem(format!("QEMU failed or took more than {LIMIT} s: {status}"));
    }
    fs::remove_file(&initramfs).with_context(|| format!("cannot remove {}", initramfs.display()))?;
    Ok(report)
}

/// The kernel's console goes to a file, what the tests say to standard output.
fn qemu(kernel: &Kernel, initramfs: &Path, console: &Path) -> Result<Command> {
    // Emulation takes a whole processor for minutes: whoever works here goes first.
    let mut command = Command::new("nice");
    command.args(["-n", "0", "timeout", "--foreground", "-s", "KILL", LIMIT]);
    command.arg(process::find("qemu-system-x86_64").context("qemu-system-x86_64 is missing")?);
    // One thread for all processors: with one each, kernels panic now and then.
    command.args([
        "-M",
        "pc",
        "-accel",
        "tcg,thread=single",
        "-cpu",
        "max,la57=off,cx16=off,erms=off,fsrm=off",
        "-smp",
        "2",
        "-m",
        "3072",
    ]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command.args(["-chardev", "stdio,id=tests,signal=off", "-serial", "chardev:tests"]);
    command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(initramfs).args(["-append", COMMAND_LINE]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}

//! A node that is not as it should be: one line that says what is wrong, and nothing half made.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::pod::Sandbox;
use weft_tests::runtime::refused;
use weft_tests::traffic::ping;
use weft_tests::{exec, kernel, need, on_both_attachments, storm};

on_both_attachments!(cleanup_removes_everything_of_ours_and_nothing_else);

/// Starts an agent that must refuse; its one line.
fn refusal(node: &Node, command: &mut Command) -> Result<String> {
    node.launch(command)?;
    let (status, log) = node.agent_end()?;
    ensure!(!status.success(), "the agent ended well:\n{log}");
    ensure!(!log.contains("panicked"), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("weft-agent: ")).collect();
    ensure!(lines.len() == 1, "one line was due:\n{log}");
    Ok(lines[0].to_owned())
}

fn refusal_with(settings: Settings) -> Result<String> {
    let node = Node::without_agent(settings)?;
    let flags = node.dir_flags();
    refusal(&node, node.agent_command()?.args(flags))
}

#[track_caller]
fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
}

#[test]
fn a_missing_bpf_filesystem_is_named_with_the_command_that_mounts_it() -> Result<()> {
    let mut settings = Settings::new(Attach::preferred());
    settings.mounts_bpffs = false;
    assert_says(&refusal_with(settings)?, &["/bpf", "mount -t bpf"]);
    Ok(())
}

#[test]
fn pools_that_cannot_be_are_named() -> Result<()> {
    let pools = |cidrs: &[&str]| refusal_with(Settings::new(Attach::preferred()).pools(cidrs));
    assert_says(&pools(&["10.244.0.0/31"])?, &["10.244.0.0/31"]);
    assert_says(&pools(&["10.244.0.0/16", "10.244.7.0/24"])?, &["10.244.0.0/16", "10.244.7.0/24"]);
    assert_says(&pools(&["10.244.0.0"])?, &["10.244.0.0"]);
    assert_says(&pools(&["10.244.0.7/24"])?, &["10.244.0.7/24", "10.244.0.0/24"]);
    assert_says(&pools(&["224.0.0.0/24"])?, &["224.0.0.0/24"]);
    assert_says(&pools(&["::ffff:10.0.0.0/120"])?, &["::ffff:10.0.0.0/120"]);
    assert_says(&pools(&[])?, &["pod-cidr"]);
    Ok(())
}

#[test]
fn a_second_agent_on_the_directory_is_refused_and_the_first_goes_on() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let pod = node.pod()?;
    let flags = [node.settings().flags(), node.dir_flags().to_vec()].concat();
    let mut second = node.bare_agent_command()?;
    let output = node.netns().enter(|| exec::output(second.args(flags), &[]))??;
    assert!(!output.status.success());
    assert_says(&output.complaint(), &["another agent", &node.agent_pid()?.to_string(), "--run-dir"]);
    pod.check(&node)?;
    ping::must_reach(node.netns(), pod.address(Family::V4)?).map(drop)
}

#[test]
fn a_missing_capability_is_named() -> Result<()> {
    for (missing, word) in [("-net_admin", "CAP_NET_ADMIN"), ("-bpf,-sys_admin", "CAP_BPF")] {
        let node = Node::without_agent(Settings::new(Attach::preferred()))?;
        let agent = node.agent_command()?;
        let mut command = Command::new(need::tool("setpriv")?);
        command.arg(format!("--bounding-set={missing}")).arg(format!("--inh-caps={missing}")).arg("--");
        command.arg(agent.get_program()).args(agent.get_args()).args(node.dir_flags()).env_clear();
        assert_says(&refusal(&node, &mut command)?, &[word]);
        assert!(kernel::devices(node.netns())?.is_empty(), "an agent that refused left a device");
    }
    Ok(())
}

/// Mounts a small filesystem where the node's run directory is.
fn small_run_dir(node: &Node) -> Result<()> {
    mount(Some("tmpfs"), &node.run_dir(), Some("tmpfs"), MsFlags::empty(), Some("size=256k")).context("mount a tmpfs")
}

fn fill(dir: &Path) -> Result<()> {
    // A file that was cut short still fills the disk.
    let error = fs::write(dir.join("ballast"), vec![0; 1 << 20]).err().context("a megabyte went into 256 KiB")?;
    ensure!(error.kind() == ErrorKind::StorageFull, "{error}");
    Ok(())
}

#[test]
fn a_full_disk_fails_add_with_its_reason_and_leaves_nothing() -> Result<()> {
    let node = Node::without_agent(Settings::new(Attach::preferred()))?;
    small_run_dir(&node)?;
    node.start_agent()?;
    let pod = node.pod()?;
    fill(&node.run_dir())?;
    let sandbox = Sandbox::new(&node)?;
    let error = refused(node.network().add(node.netns(), &sandbox.attachment))?;
    assert_eq!(error.code, 5, "{error}");
    assert!(error.to_string().contains("free space") || error.to_string().contains("No space"), "{error}");
    assert!(kernel::devices(&sandbox.netns)?.is_empty());
    storm::must_agree(&node, &[pod.result().clone()])?;
    pod.del(&node).context("DEL needs no space")?;
    fs::remove_file(node.run_dir().join("ballast"))?;
    storm::must_be_empty(&node)?;
    node.network().add(node.netns(), &sandbox.attachment).context("after space was made")?;
    node.stop_agent(Signal::SIGTERM)?;
    umount2(&node.run_dir(), MntFlags::MNT_DETACH).context("unmount")
}

#[test]
fn a_read_only_run_directory_is_said_at_start_and_at_add() -> Result<()> {
    let node = Node::without_agent(Settings::new(Attach::preferred()))?;
    small_run_dir(&node)?;
    node.start_agent()?;
    // The agent's lock is open for writing, so its mount cannot change: another one on top of it can.
    let (dir, read_only) = (node.run_dir(), MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY);
    mount(Some(&dir), &dir, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("mount a directory on itself")?;
    mount(None::<&str>, &dir, None::<&str>, read_only, None::<&str>).context("make a mount read-only")?;
    let sandbox = Sandbox::new(&node)?;
    let error = refused(node.network().add(node.netns(), &sandbox.attachment))?;
    assert_eq!(error.code, 5, "{error}");
    assert!(error.to_string().to_lowercase().contains("read-only"), "{error}");
    assert!(kernel::devices(&sandbox.netns)?.is_empty());
    storm::must_be_empty(&node)?;
    node.stop_agent(Signal::SIGKILL)?;
    let flags = node.dir_flags();
    let line = refusal(&node, node.agent_command()?.args(flags))?;
    assert_says(&line.to_lowercase(), &["read-only", &dir.to_string_lossy().to_lowercase()]);
    umount2(&dir, MntFlags::MNT_DETACH).context("unmount")?;
    umount2(&dir, MntFlags::MNT_DETACH).context("unmount")
}

fn records(node: &Node) -> Result<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(node.run_dir().join("attachments"))?.flatten();
    Ok(entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect())
}

#[test]
fn a_corrupt_record_costs_its_own_attachment_and_no_other() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let whole = node.pod()?;
    let kept = records(&node)?;
    let _broken = node.pod()?;
    let broken = records(&node)?.into_iter().find(|path| !kept.contains(path)).context("no second record")?;
    for damage in [&b"{\"id\": 1, \"key\""[..], b"", &[0xff; 64]] {
        node.stop_agent(Signal::SIGKILL)?;
        fs::write(&broken, damage)?;
        fs::write(node.run_dir().join("spool").join("junk.json"), damage)?;
        node.start_agent()?;
        assert!(node.agent_log().contains(&*broken.file_name().unwrap_or_default().to_string_lossy()));
        storm::must_agree(&node, &[whole.result().clone()])?;
        ping::must_reach(node.netns(), whole.address(Family::V4)?)?;
        whole.check(&node)?;
    }
    Ok(())
}

#[test]
fn records_of_another_boot_are_void() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let (old, current) = (node.pod()?, node.pod()?);
    node.stop_agent(Signal::SIGKILL)?;
    let host = old.host_ifname()?;
    let path = node.run_dir().join("attachments").join(format!("{host}.json"));
    let mut record: Value = serde_json::from_slice(&fs::read(&path)?)?;
    record["boot"] = json!("00000000-0000-0000-0000-000000000000");
    fs::write(&path, record.to_string())?;
    node.start_agent()?;
    storm::must_agree(&node, &[current.result().clone()])?;
    let wanted = json!({ "ips": [old.address(Family::V4)?] });
    weft_tests::pod::Pod::attach(&node, &node.network().offering(wanted)).context("its address is free")?;
    Ok(())
}

/// The node once no device changes its state any more: the kernel does that in its own time.
fn settled(node: &Node) -> Result<String> {
    let mut last = kernel::picture(node.netns())?;
    loop {
        thread::sleep(Duration::from_millis(200));
        let now = kernel::picture(node.netns())?;
        if now == last && !now.contains("NO-CARRIER") {
            return Ok(now);
        }
        last = now;
    }
}

fn cleanup_removes_everything_of_ours_and_nothing_else(attach: Attach) -> Result<()> {
    let node = Node::without_agent(Settings::new(attach))?;
    exec::ip_batch(
        node.netns(),
        &[
            "link add weft-bystander type veth peer name bystander",
            "link set weft-bystander addrgenmode none",
            "link set bystander addrgenmode none",
            "addr add 198.51.100.1/24 dev bystander",
            "link set bystander up",
            "link set weft-bystander up",
            "route add 10.99.0.0/16 dev bystander",
        ],
    )?;
    fs::create_dir_all(node.bpffs().join("other"))?;
    let pin = node.bpffs().join("other/map").to_string_lossy().into_owned();
    exec::tool(
        "bpftool",
        &["map", "create", &pin, "type", "array", "key", "4", "value", "4", "entries", "1", "name", "other"],
    )?;
    fs::write(node.run_dir().join("not-ours"), "x")?;
    let before = settled(&node)?;
    node.start_agent()?;
    let pods = [node.pod()?, node.pod()?];
    ping::must_reach(pods[0].netns(), pods[1].address(Family::V4)?)?;
    let early = node.run_agent(&["cleanup"])?;
    assert!(!early.status.success(), "cleanup under a running agent");
    assert_says(&early.complaint(), &["--force"]);
    node.stop_agent(Signal::SIGTERM)?;
    let output = node.run_agent(&["cleanup"])?;
    assert!(output.status.success(), "{}", output.complaint());
    assert_eq!(settled(&node)?, before, "the node is not as it was before the agent");
    assert!(!node.bpf_dir().exists(), "{} was left", node.bpf_dir().display());
    assert!(Path::new(&pin).exists() && node.run_dir().join("not-ours").exists());
    let left: Vec<_> = fs::read_dir(node.run_dir())?.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["not-ours"], "files of ours were left");
    for pod in &pods {
        assert!(kernel::devices(pod.netns())?.is_empty());
    }
    let again = node.run_agent(&["cleanup"])?;
    assert!(again.status.success(), "twice: {}", again.complaint());
    Ok(())
}

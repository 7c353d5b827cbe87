//! What a node lacks is said before the start, at it, and in the status: which feature it costs, and the remedy.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_tests::node::{Family, GRANTED, Node, Settings};
use weft_tests::traffic::ping;
use weft_tests::{exec, kernel, need};

fn without(name: &str) -> Vec<&'static str> {
    GRANTED.into_iter().filter(|granted| *granted != name).collect()
}

/// What preflight says as JSON, and its exit code.
fn preflight(node: &Node) -> Result<(Value, Option<i32>)> {
    let mut command = node.agent_command()?;
    command.args(node.dir_flags()).args(["preflight", "-o", "json"]);
    let output = node.netns().enter(|| exec::output(&mut command, &[]))??;
    let report = serde_json::from_slice(&output.stdout).with_context(|| output.complaint())?;
    Ok((report, output.status.code()))
}

fn check<'a>(report: &'a Value, what: &str) -> Result<&'a Value> {
    let checks = report["checks"].as_array().context("no checks")?;
    checks.iter().find(|check| check["what"] == what).with_context(|| format!("nothing about {what}: {report}"))
}

#[test]
fn a_node_with_everything_can_run_weft_and_stays_as_it_was() -> Result<()> {
    let node = Node::without_agent(Settings::new(None))?;
    let before = (kernel::picture(node.netns())?, fs::read_dir(node.bpffs())?.count());
    let (report, code) = preflight(&node)?;
    assert_eq!((code, &report["canRun"]), (Some(0), &Value::Bool(true)), "{report}");
    for what in ["kernel", "programs", "CAP_BPF", "BPF filesystem", "net.ipv4.ip_forward", "VXLAN", "bandwidth limits"]
    {
        assert_eq!(check(&report, what)?["verdict"], "ok", "{report}");
    }
    assert_eq!((kernel::picture(node.netns())?, fs::read_dir(node.bpffs())?.count()), before);
    let mut command = node.agent_command()?;
    command.args(node.dir_flags()).arg("preflight");
    let output = node.netns().enter(|| exec::output(&mut command, &[]))??;
    let table = output.text();
    ensure!(table.starts_with("WHAT") && table.contains("weft can run here") && !table.contains('\x1b'), "{table}");
    Ok(())
}

#[test]
fn an_agent_with_the_granted_capabilities_serves_everything() -> Result<()> {
    let node = Node::start_with(Settings::new(None).capabilities(&GRANTED))?;
    let (a, b) = (node.pod()?, node.pod()?);
    for family in Family::BOTH {
        ping::must_reach(a.netns(), b.address(family)?)?;
        ping::must_reach(node.netns(), b.address(family)?)?;
    }
    let status = node.weft_json(&["status"])?;
    assert_eq!(status["problems"], serde_json::json!([]));
    a.del(&node)?;
    node.stop_agent(nix::sys::signal::Signal::SIGKILL)?;
    node.start_agent()?;
    b.check(&node)?;
    let (report, code) = preflight(&node)?;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(check(&report, "VXLAN")?["verdict"], "unknown", "{report}");
    Ok(())
}

#[test]
fn each_capability_that_is_missing_is_named() -> Result<()> {
    for (missing, name) in [("net_admin", "CAP_NET_ADMIN"), ("bpf", "CAP_BPF"), ("perfmon", "CAP_PERFMON")] {
        let node = Node::without_agent(Settings::new(None).capabilities(&without(missing)))?;
        let (report, code) = preflight(&node)?;
        assert_eq!(code, Some(1), "{report}");
        let found = check(&report, name)?;
        assert!(found["verdict"] == "missing" && found["note"].as_str().is_some_and(|note| note.contains("grant it")));
        let mut command = node.agent_command()?;
        node.launch(command.args(node.dir_flags()))?;
        let (status, log) = node.agent_end()?;
        ensure!(!status.success() && log.contains(&format!("lacks {name} (")), "{status}: {log}");
        ensure!(!log.contains("os error"), "{log}");
    }
    Ok(())
}

#[test]
fn a_capability_that_costs_a_feature_is_told_with_it() -> Result<()> {
    let node = Node::start_with(Settings::new(None).capabilities(&without("net_raw")))?;
    let problems = node.weft_json(&["status"])?["problems"].to_string();
    assert!(problems.contains("fragments") && problems.contains("CAP_NET_RAW"), "{problems}");
    let (report, code) = preflight(&node)?;
    assert_eq!((code, &check(&report, "CAP_NET_RAW")?["verdict"]), (Some(0), &Value::from("degraded")), "{report}");
    let (a, b) = (node.pod()?, node.pod()?);
    ping::must_reach(a.netns(), b.address(Family::V4)?)?;
    Ok(())
}

/// Runs the agent's command in a mount namespace of its own, after this script.
fn mounted(node: &Node, script: &str, args: &[&str]) -> Result<Command> {
    let agent = node.agent_command()?;
    let mut command = Command::new(need::tool("unshare")?);
    let script = format!("{script}; exec \"$0\" \"$@\"");
    command.args(["--mount", "sh", "-euc", &script]).arg(agent.get_program()).args(agent.get_args());
    command.args(node.dir_flags()).args(args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
    Ok(command)
}

#[test]
fn what_is_read_only_costs_what_the_report_says() -> Result<()> {
    let node = Node::without_agent(Settings::new(None))?;
    let script = "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; \
                  mount --bind /sys/kernel /sys/kernel; mount -o remount,bind,ro /sys/kernel";
    let mut command = mounted(&node, script, &["preflight", "-o", "json"])?;
    let output = node.netns().enter(|| exec::output(&mut command, &[]))??;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| output.complaint())?;
    let forwarding = check(&report, "net.ipv4.ip_forward")?;
    assert!(forwarding["verdict"] == "missing" && forwarding["note"].to_string().contains("proc-dir"), "{report}");
    let switch = check(&report, "RCU switch")?;
    assert!(switch["verdict"] == "degraded" && switch["note"].to_string().contains("25 ms"), "{report}");
    assert_eq!(output.status.code(), Some(1));
    // The feature that it costs, and no start.
    let script = "mount --bind /sys/kernel /sys/kernel; mount -o remount,bind,ro /sys/kernel";
    node.start_agent_as(&mut mounted(&node, script, &[])?)?;
    let problems = node.weft_json(&["status"])?["problems"].to_string();
    assert!(problems.contains("rcu_expedited") && problems.contains("expedite-rcu"), "{problems}");
    node.pod()?.del(&node)?;
    Ok(())
}

#[test]
fn a_loopback_that_nobody_can_bring_is_named() -> Result<()> {
    let node = Node::without_agent(Settings::new(None))?;
    let plugins = node.dir().join("plugins");
    fs::create_dir(&plugins)?;
    let dir = plugins.display();
    let read_only = format!("mount --bind {dir} {dir}; mount -o remount,bind,ro {dir}");
    for (script, verdict, part) in [("true", "ok", "weft-cni stands in"), (&read_only, "degraded", "kubernetes-cni")] {
        let mut command = mounted(&node, script, &[&format!("--cni-bin-dir={dir}"), "preflight", "-o", "json"])?;
        let output = node.netns().enter(|| exec::output(&mut command, &[]))??;
        let report: Value = serde_json::from_slice(&output.stdout).with_context(|| output.complaint())?;
        let loopback = check(&report, "loopback plugin")?;
        assert!(loopback["verdict"] == verdict && loopback.to_string().contains(part), "{script}: {loopback}");
    }
    Ok(())
}

#[test]
fn a_missing_bpf_filesystem_is_named_and_init_mounts_it() -> Result<()> {
    let mut settings = Settings::new(None);
    settings.mounts_bpffs = false;
    let node = Node::without_agent(settings)?;
    let (report, code) = preflight(&node)?;
    let found = check(&report, "BPF filesystem")?;
    assert!(code == Some(1) && found["note"].to_string().contains("weft-agent init"), "{report}");
    // In a mount namespace of its own, twice: the second time there is nothing to do.
    let agent = node.agent_command()?;
    let program = agent.get_program().display().to_string();
    let flags: Vec<_> = agent.get_args().map(|arg| arg.display().to_string()).collect();
    let words = [flags, node.dir_flags().to_vec()].concat().join(" ");
    let mounts = "grep -c ' bpf ' /proc/self/mounts";
    let script = format!(
        "umount -a -l -t bpf; {program} {words} init; {mounts}; {program} {words} init; {mounts}; stat -f -c %T {}",
        node.bpffs().display()
    );
    let mut command = Command::new(need::tool("unshare")?);
    command.args(["--mount", "sh", "-euc", &script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = node.netns().enter(|| exec::output(&mut command, &[]))??;
    ensure!(output.status.success(), "{}", output.complaint());
    assert_eq!(output.text(), "1\n1\nbpf_fs\n", "{}", output.complaint());
    let refused = node.agent_command()?.args(["--vni=1", "--routing=native", "init"]).output()?;
    assert_eq!(refused.status.code(), Some(2), "init checks the configuration whole");
    Ok(())
}

#[test]
fn a_node_that_knows_no_cluster_yet_can_be_looked_at() -> Result<()> {
    let node = Node::without_agent(Settings::new(None))?;
    let output = node.run_agent(&["preflight", "-o", "json"])?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| output.complaint())?;
    let found = check(&report, "network directory")?["found"].to_string();
    assert!(found.contains("/etc/cni/net.d"), "{report}");
    assert_eq!(check(&report, "kube-proxy")?["found"], "none", "{report}");
    Ok(())
}

#[test]
fn a_node_without_cgroups_is_told_what_that_costs() -> Result<()> {
    let node = Node::without_agent(Settings::new(None).without_cgroups())?;
    let (report, code) = preflight(&node)?;
    let found = check(&report, "cgroup v2")?;
    assert!(code == Some(0) && found["verdict"] == "degraded" && found["note"].to_string().contains("127.0.0.1"));
    Ok(())
}

//! What the agent leaves alone, and what a clean-up takes back.

use std::fs;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_tests::kernel;

use super::{Served, names};

#[test]
fn loopback_is_whoever_s_who_installed_it() -> Result<()> {
    let served = Served::new()?;
    let theirs = served.bin.join("loopback");
    fs::create_dir_all(&served.bin)?;
    fs::write(&theirs, "of a package")?;
    served.node.start_agent_as(&mut served.command()?)?;
    served.wait_for(|served| served.conflist().exists())?;
    assert_eq!(fs::read_to_string(&theirs)?, "of a package");
    fs::remove_file(&theirs)?;
    let plugin = fs::read(served.plugin())?;
    served.wait_for(|_| fs::read(&theirs).is_ok_and(|found| found == plugin)).context("ours stands in")?;
    fs::write(&theirs, "of a package")?;
    served.node.stop_agent(Signal::SIGTERM)?;
    let dirs = served.dirs();
    let output = served.node.run_agent(&["cleanup", &dirs[0], &dirs[1]])?;
    ensure!(output.status.success(), "{}", output.complaint());
    assert_eq!(names(&served.bin)?, ["loopback"]);
    Ok(())
}

#[test]
fn cleanup_takes_everything_back() -> Result<()> {
    let served = Served::started()?;
    let pod = served.node.pod()?;
    fs::write(served.conf.join("10-other.conflist"), r#"{"name":"other","plugins":[{"type":"bridge"}]}"#)?;
    served.node.stop_agent(Signal::SIGTERM)?;
    let dirs = served.dirs();
    let output = served.node.run_agent(&["cleanup", &dirs[0], &dirs[1]])?;
    ensure!(output.status.success(), "{}", output.complaint());
    assert_eq!(names(&served.bin)?, Vec::<String>::new());
    assert_eq!(names(&served.conf)?, ["10-other.conflist"]);
    assert!(!served.node.run_dir().exists() && !served.node.pins().exists());
    assert_eq!(kernel::devices(served.node.netns())?, Vec::<String>::new());
    drop(pod);
    Ok(())
}

#[test]
fn cleanup_leaves_what_leads_to_another_agent() -> Result<()> {
    let (one, other) = (Served::started()?, Served::new()?);
    let dirs = one.dirs();
    let output = other.node.run_agent(&["cleanup", &dirs[0], &dirs[1]])?;
    ensure!(output.status.success(), "{}", output.complaint());
    assert!(one.conflist().exists() && one.plugin().exists());
    Ok(())
}

#[test]
fn cleanup_with_stay_waits_for_a_signal() -> Result<()> {
    let served = Served::started()?;
    served.node.stop_agent(Signal::SIGTERM)?;
    let mut command = served.node.bare_agent_command()?;
    command.args(["cleanup", "--stay"]).args(served.node.dir_flags()).args(served.dirs());
    served.node.launch(&mut command)?;
    served.wait_for(|served| served.node.agent_log().contains("waiting for a signal"))?;
    assert!(names(&served.bin)?.is_empty() && names(&served.conf)?.is_empty());
    let status = served.node.stop_agent(Signal::SIGTERM)?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

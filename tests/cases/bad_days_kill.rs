//! Processes that die at the worst moment, and many that work at once.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use weft_tests::node::{Attach, Family, Node};
use weft_tests::pod::{Sandbox, addresses};
use weft_tests::runtime::{CniError, refused};
use weft_tests::traffic::ping;
use weft_tests::{kernel, need, on_both_attachments, storm};

on_both_attachments!(two_hundred_pods_come_and_go_at_once, an_agent_killed_under_fifty_adds_loses_nothing);

fn two_hundred_pods_come_and_go_at_once(attach: Attach) -> Result<()> {
    let node = Node::start(attach)?;
    let sandboxes = storm::sandboxes(&node, 200)?;
    let network = node.network();
    let results: Vec<Value> = storm::add(&node, &network, &sandboxes).into_iter().collect::<Result<_>>()?;
    storm::must_agree(&node, &results)?;
    let witness = &sandboxes[0].netns;
    for result in results.iter().skip(1).step_by(37) {
        for address in addresses(result)? {
            ping::must_reach(witness, address)?;
        }
    }
    let pairs: Vec<_> = sandboxes.iter().zip(&results).collect();
    let removed =
        storm::all_at_once(&pairs, |(sandbox, result)| network.del(node.netns(), &sandbox.attachment, Some(result)));
    removed.into_iter().collect::<Result<Vec<()>>>()?;
    storm::must_be_empty(&node)
}

fn an_agent_killed_under_fifty_adds_loses_nothing(attach: Attach) -> Result<()> {
    let node = Node::start(attach)?;
    let network = node.network();
    for delay_ms in [5, 30] {
        let sandboxes = storm::sandboxes(&node, 50)?;
        let answers = thread::scope(|scope| {
            let adds = scope.spawn(|| storm::add(&node, &network, &sandboxes));
            thread::sleep(Duration::from_millis(delay_ms));
            let killed = node.stop_agent(Signal::SIGKILL);
            let answers = adds.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            killed.map(|_| answers)
        })?;
        node.start_agent()?;
        let mut results = Vec::new();
        for (number, (answer, sandbox)) in answers.into_iter().zip(&sandboxes).enumerate() {
            results.push(match answer {
                Ok(result) => result,
                Err(error) => {
                    error.downcast::<CniError>().context("an ADD failed in another way than by a CNI error")?;
                    // Runtimes call DEL after a failed ADD; not all of them do.
                    if number % 2 == 0 {
                        network.del(node.netns(), &sandbox.attachment, None)?;
                    }
                    network.add(node.netns(), &sandbox.attachment).context("the retry")?
                }
            });
        }
        storm::must_agree(&node, &results)?;
        for (sandbox, result) in sandboxes.iter().zip(&results).step_by(7) {
            network.check(node.netns(), &sandbox.attachment, result)?;
            ping::must_reach(node.netns(), addresses(result)?[0])?;
        }
        network.gc(node.netns(), &[])?;
        storm::must_be_empty(&node)?;
    }
    Ok(())
}

/// What tidies up after a plugin that was killed.
#[derive(Clone, Copy, Debug)]
enum Tidy {
    Del,
    Restart,
    Gc,
}

/// Starts ADD and kills it after a while; whether it had succeeded by then.
fn killed_add(node: &Node, sandbox: &Sandbox, after: Duration) -> Result<bool> {
    let network = node.network();
    let config = node.dir().join("killed-add.json");
    std::fs::write(&config, network.config(&network.plugins[0], None).to_string())?;
    let mut command = Command::new(need::binary("weft-cni")?);
    command.env_clear().envs(sandbox.attachment.env("ADD")).current_dir("/");
    command.stdin(std::fs::File::open(&config)?).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child: Child = node.netns().enter(|| command.spawn())??;
    let until = Instant::now() + after;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    child.kill()?;
    Ok(child.wait()?.success())
}

fn plugin_killed_at_any_point(tidy: Tidy) -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let network = node.network();
    let mut died = 0;
    for step in 0..24_u64 {
        let sandbox = Sandbox::new(&node)?;
        let finished = killed_add(&node, &sandbox, Duration::from_micros(step * 250))?;
        died += u32::from(!finished);
        match tidy {
            Tidy::Del => network.del(node.netns(), &sandbox.attachment, None)?,
            Tidy::Gc => network.gc(node.netns(), &[])?,
            Tidy::Restart => {
                node.stop_agent(Signal::SIGKILL)?;
                node.start_agent()?;
                leave_only_what_is_whole(&node, &sandbox)?;
            }
        }
        storm::must_be_empty(&node).with_context(|| format!("killed after {} us", step * 250))?;
        ensure!(kernel::devices(&sandbox.netns)?.is_empty(), "an interface stayed in the pod");
        let result = network.add(node.netns(), &sandbox.attachment).context("a fresh ADD of the same attachment")?;
        network.del(node.netns(), &sandbox.attachment, Some(&result))?;
    }
    ensure!(died >= 4, "only {died} of 24 plugins were killed in time");
    Ok(())
}

/// The agent cannot know that nobody heard of a finished endpoint: such a one works, and DEL removes it.
fn leave_only_what_is_whole(node: &Node, sandbox: &Sandbox) -> Result<()> {
    let list = node.weft_json(&["endpoint", "list"])?;
    let Some(endpoint) = list.get(0) else { return Ok(()) };
    if endpoint["stage"] != "ready" {
        bail!("half an endpoint outlived a restart: {endpoint}");
    }
    for family in Family::BOTH {
        let mut addresses = endpoint["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let address = addresses.find_map(|text| text.parse().ok().filter(|ip| family.has(ip)));
        ping::must_reach(node.netns(), address.context("no address")?)?;
    }
    node.network().del(node.netns(), &sandbox.attachment, None)
}

#[test]
fn a_plugin_killed_at_any_point_leaves_nothing_that_del_does_not_remove() -> Result<()> {
    plugin_killed_at_any_point(Tidy::Del)
}

#[test]
fn a_plugin_killed_at_any_point_leaves_nothing_that_a_restart_does_not_remove() -> Result<()> {
    plugin_killed_at_any_point(Tidy::Restart)
}

#[test]
fn a_plugin_killed_at_any_point_leaves_nothing_that_gc_does_not_remove() -> Result<()> {
    plugin_killed_at_any_point(Tidy::Gc)
}

#[test]
fn del_without_an_agent_frees_everything_at_the_agent_s_next_start() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let network = node.network();
    let (plain, bare, gone) = (node.pod()?, node.pod()?, node.pod()?);
    let stays = node.pod()?;
    node.stop_agent(Signal::SIGKILL)?;
    plain.del(&node)?;
    plain.del(&node).context("twice")?;
    network.del(node.netns(), &bare.attachment().without_netns(), None).context("without namespace or result")?;
    gone.netns().remove_name();
    gone.del(&node).context("the namespace is gone")?;
    assert_eq!(kernel::host_ends(node.netns())?, [stays.host_ifname()?], "DEL itself removes the links");
    node.start_agent()?;
    storm::must_agree(&node, &[stays.result().clone()])?;
    assert_eq!(std::fs::read_dir(node.run_dir().join("spool"))?.count(), 0, "the spool was not emptied");
    let wanted = serde_json::json!({ "ips": [plain.address(Family::V4)?, plain.address(Family::V6)?] });
    let again =
        weft_tests::pod::Pod::attach(&node, &network.clone().offering(wanted)).context("its address is free")?;
    ping::must_reach(stays.netns(), again.address(Family::V6)?)?;
    again.del(&node)?;
    stays.del(&node)?;
    storm::must_be_empty(&node)
}

#[test]
fn a_spooled_del_does_not_touch_the_next_pod_of_that_name() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let pod = node.pod()?;
    node.stop_agent(Signal::SIGTERM)?;
    pod.del(&node)?;
    let refusal = refused(node.network().add(node.netns(), pod.attachment()))?;
    assert_eq!(refusal.code, 11, "{refusal}");
    node.start_agent()?;
    let result = node.network().add(node.netns(), pod.attachment())?;
    node.stop_agent(Signal::SIGTERM)?;
    node.start_agent()?;
    node.network().check(node.netns(), pod.attachment(), &result)?;
    storm::must_agree(&node, &[result])
}

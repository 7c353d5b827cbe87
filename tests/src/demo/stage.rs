//! The demo's node and pods, and the scenes they play.

use std::env;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_abi::{Direction, Reason, map};

use crate::daemon::Daemon;
use crate::node::{Family, Node, Settings, Uplink};
use crate::packet::FrameSocket;
use crate::packet::craft::{self, Link};
use crate::pod::{Pod, Sandbox};
use crate::site::Site;
use crate::traffic::ping::{self, Steady};
use crate::{drops, exec, kernel, need, storm};

use super::screen::Screen;
use super::{STOP, web};

/// What the web server says.
const PAGE: &str = "hello from a pod\n";

/// The node, its pods, and the server in one of them.
pub(super) struct Stage {
    server: Daemon,
    web: Pod,
    pub(super) client: Pod,
    guest: Pod,
    pub(super) world: Uplink,
    pub(super) node: Node,
}

impl Stage {
    /// Starts the node and attaches the pods.
    pub(super) fn set(screen: &Screen, site: &Arc<Site>) -> Result<Self> {
        screen.part("A node of its own: a network namespace, a BPF filesystem, an agent, and a world beyond it");
        let (node, world) = screen.step("weft-agent is ready", || {
            let name = format!("{}-node", site.name());
            let node = Node::named(Arc::clone(site), &name, Settings::new(None))?;
            let world = Uplink::join(&node, 1500)?;
            node.start_agent()?;
            let status = node.weft_json(&["status"])?;
            let said = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
            let detail = format!("kernel {}, programs attached by {}", said("kernel"), said("attach"));
            Ok(((node, world), detail))
        })?;
        screen.part("Three pods join: weft-cni ADD, as a container runtime executes it");
        let attach = |name: &str| {
            let mut sandbox = Sandbox::named(Arc::clone(site), &format!("{}-{name}", site.name()))?;
            sandbox.attachment.args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME={name}");
            screen.step(&format!("{name:<6}"), || {
                let pod = Pod::attach_as(&node, &node.network(), sandbox)?;
                let (v4, v6) = (pod.address(Family::V4)?, pod.address(Family::V6)?);
                let detail = format!("{v4}  {v6}  behind {}", pod.host_ifname()?);
                Ok((pod, detail))
            })
        };
        let (web, client, guest) = (attach("web")?, attach("client")?, attach("guest")?);
        let mut command = Command::new(env::current_exe().context("find this program")?);
        let server = Daemon::spawn(site, web.netns(), command.args(["--serve", PAGE]), &site.dir().join("web.log"))?;
        Ok(Self { server, web, client, guest, world, node })
    }

    /// Pings and pages, on both families.
    pub(super) fn talk(&self, screen: &Screen) -> Result<()> {
        screen.part("They talk, on IPv4 and IPv6");
        let before = kernel::forwarded(self.node.netns())?;
        for family in Family::BOTH {
            let to = self.web.address(family)?;
            screen
                .step(&format!("client pings web at {to}"), || answered(ping::must_reach(self.client.netns(), to)))?;
        }
        for family in Family::BOTH {
            let from = self.web.address(family)?;
            screen.step(&format!("client fetches {}", url(from)), || {
                let page = web::fetch_soon(self.client.netns(), (from, web::PORT).into())?;
                ensure!(page == PAGE, "another page came: {page:?}");
                Ok(((), format!("{:?}", page.trim_end())))
            })?;
        }
        screen.step("the node's own stack forwarded none of it", || {
            let packets = kernel::forwarded(self.node.netns())? - before;
            ensure!(packets == 0, "{packets} packets went through the node's stack");
            Ok(((), String::new()))
        })?;
        for family in Family::BOTH {
            let (inside, outside) = (self.guest.address(family)?, self.node.gateway(family));
            screen.step(&format!("the node pings guest at {inside}"), || {
                answered(ping::must_reach(self.node.netns(), inside))
            })?;
            screen.step(&format!("guest pings the node at {outside}"), || {
                answered(ping::must_reach(self.guest.netns(), outside))
            })?;
        }
        Ok(())
    }

    /// A pod that uses another pod's address.
    pub(super) fn catch_a_liar(&self, screen: &Screen) -> Result<()> {
        screen.part("A pod may send only from its own address");
        let (stolen, to) = (self.web.address(Family::V4)?, self.client.address(Family::V4)?);
        screen.step(&format!("guest sends as {stolen} to client: dropped"), || {
            let host = kernel::ip(self.node.netns(), &format!("link show {}", self.guest.host_ifname()?))?;
            let dst = host[0]["address"].as_str().context("the host end has no MAC")?.parse()?;
            let frame = craft::udp(Link { src: self.guest.mac()?, dst }, stolen, to, 7, b"I am web, honestly")?;
            let seen = FrameSocket::open(self.client.netns(), "eth0")?;
            let before = drops::read(&self.node)?;
            FrameSocket::open(self.guest.netns(), "eth0")?.send(&frame)?;
            drops::wait_for(&self.node, &before, Reason::SourceAddr, Direction::Egress)?;
            let leaked = seen.wait_for(Duration::from_millis(20), |other| other[12..] == frame[12..])?;
            ensure!(leaked.is_none(), "the client saw the forged packet");
            Ok(((), String::new()))
        })?;
        self.weft(screen, &["drops"])
    }

    /// The datapath goes on without its agent.
    pub(super) fn restart_the_agent(&self, screen: &Screen) -> Result<()> {
        screen.part("The agent dies and comes back; the pods do not notice");
        screen.step("kill -9 and restart under a running ping", || {
            let to = self.web.address(Family::V6)?;
            let steady = Steady::start(self.client.netns(), to, Duration::from_millis(1))?;
            thread::sleep(Duration::from_millis(20));
            self.node.stop_agent(Signal::SIGKILL)?;
            self.node.start_agent()?;
            thread::sleep(Duration::from_millis(20));
            let report = steady.stop()?;
            ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
            Ok(((), format!("{} sent, 0 lost", report.sent)))
        })
    }

    /// What an operator sees.
    pub(super) fn look_inside(&self, screen: &Screen) -> Result<()> {
        screen.part("What the operator sees");
        self.weft(screen, &["endpoint", "list"])?;
        self.weft(screen, &["map", "dump", map::PODS])?;
        let pinned = self.node.pins().join(map::PODS).display().to_string();
        let dump = exec::tool("bpftool", &["map", "dump", "pinned", &pinned])?;
        let first = self.web.address(Family::V4)?;
        ensure!(dump.contains("\"pod_mac\""), "bpftool shows no named fields of {first}:\n{dump}");
        screen.command(&format!("bpftool map dump pinned {pinned}"), &shorten(&dump, 13));
        Ok(())
    }

    pub(super) fn weft(&self, screen: &Screen, args: &[&str]) -> Result<()> {
        let output = self.node.weft(args)?;
        ensure!(output.status.success(), "weft {}: {}", args.join(" "), output.complaint());
        screen.command(&format!("weft {}", args.join(" ")), &output.text());
        Ok(())
    }

    /// What to type while it is up.
    pub(super) fn hints(&self, screen: &Screen) -> Result<()> {
        screen.part("It stays up. Type next:");
        let weft = format!("{} --run-dir {}", need::binary("weft")?.display(), self.node.run_dir().display());
        let client = self.client.netns().name();
        screen.hint(&format!("ip netns exec {client} bash"), "a shell in a pod's network");
        for family in Family::BOTH {
            let page = url(self.web.address(family)?);
            screen.hint(&format!("ip netns exec {client} curl {page}"), "a page from another pod");
        }
        screen.hint(&format!("{weft} endpoint list"), "the pods as the agent knows them");
        screen.hint(&format!("{weft} drops --follow"), "drops as they happen");
        let pods = self.node.pins().join(map::PODS);
        screen.hint(&format!("bpftool map dump pinned {}", pods.display()), "the pods as the programs see them");
        let node = self.node.netns().name();
        screen.hint(&format!("ip netns exec {node} ip -br link"), "the node's devices");
        screen.hint("cargo xtask demo --down", "take it all down");
        Ok(())
    }

    /// The pods leave, the agent stops, and nothing stays.
    pub(super) fn leave(mut self, screen: &Screen) -> Result<()> {
        screen.part("They leave: weft-cni DEL, then weft-agent cleanup");
        self.server.end(STOP)?;
        for pod in [&self.web, &self.client, &self.guest] {
            let name = pod.netns().name().to_owned();
            screen.step(&format!("{name} is detached"), || {
                pod.del(&self.node)?;
                ensure!(kernel::devices(pod.netns())?.is_empty(), "an interface stayed in {name}");
                Ok(((), String::new()))
            })?;
        }
        screen.step("no link, record, lease, map entry or pin is left", || {
            storm::must_be_empty(&self.node)?;
            Ok(((), String::new()))
        })?;
        screen.step("weft-agent stops and cleans up", || {
            let status = self.node.stop_agent(STOP)?;
            ensure!(status.success(), "the agent ended with {status}:\n{}", self.node.agent_log());
            let output = self.node.run_agent(&["cleanup"])?;
            ensure!(output.status.success(), "cleanup: {}", output.complaint());
            let left = kernel::devices(self.node.netns())?;
            ensure!(left == [Uplink::DEVICE] && !self.node.bpf_dir().exists(), "left on the node: {left:?}");
            Ok(((), String::new()))
        })
    }
}

fn answered(round_trip: Result<Duration>) -> Result<((), String)> {
    round_trip.map(|time| ((), format!("fastest of 3: {} us", time.as_micros())))
}

pub(super) fn url(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => format!("http://{host}/"),
        IpAddr::V6(host) => format!("http://[{host}]/"),
    }
}

/// The beginning of a long text, by lines.
fn shorten(text: &str, lines: usize) -> String {
    let more = text.lines().count().saturating_sub(lines);
    let head = text.lines().take(lines).collect::<Vec<_>>().join("\n");
    if more == 0 { head } else { format!("{head}\n... and {more} lines more") }
}

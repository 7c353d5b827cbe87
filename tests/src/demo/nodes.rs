//! The demo of several nodes: pods across an overlay, and out into the world.

use std::env;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::daemon::Daemon;
use crate::fabric::{Fabric, Layout, Member, Routing};
use crate::netns::Netns;
use crate::node::Family;
use crate::pod::{Pod, Sandbox};
use crate::site::Site;
use crate::traffic::errors::Prober;
use crate::traffic::ping::Steady;
use crate::{exec, kernel, need, storm};

use super::screen::Screen;
use super::{STOP, ways, web};

/// What the servers say; the braces become the client's address as the server sees it.
const PAGE: &str = "hello, {}\n";

/// The nodes, a pod with its name on each, one more on the first, and the servers.
pub(super) struct Nodes {
    servers: Vec<Daemon>,
    pods: Vec<(String, Pod)>,
    fabric: Fabric,
}

impl Nodes {
    /// Starts the nodes and attaches the pods: `a` and `b` on the first node, `c` and so on, one on each other.
    pub(super) fn set(screen: &Screen, site: &Arc<Site>, count: u8) -> Result<Self> {
        screen.part("Nodes of their own, on one switch, and a world behind a router that knows no pods");
        let fabric = screen.step("a switch, a router and a world", || {
            let fabric = Fabric::lay(site, Layout::new(Routing::Overlay, None).nodes(count))?;
            let world = Family::BOTH.map(|family| fabric.world_address(family).to_string());
            Ok((fabric, format!("the world is {}", world.join("  "))))
        })?;
        for member in fabric.members() {
            screen.step(&format!("weft-agent is ready on n{}", member.number()), || {
                member.node().start_agent()?;
                let ranges = member.node().settings().pod_cidrs.join("  ");
                Ok(((), format!("{}  pods {ranges}", member.address(Family::V4))))
            })?;
        }
        command(screen, fabric.member(1), &["peer", "list"])?;
        screen.part("Pods join: weft-cni ADD, as a container runtime executes it");
        let mut pods = Vec::new();
        let places = [1].into_iter().chain(fabric.members().iter().map(Member::number));
        for (number, name) in places.zip('a'..) {
            let node = fabric.node(number.into());
            let mut sandbox = Sandbox::named(Arc::clone(site), &format!("{}-{name}", site.name()))?;
            sandbox.attachment.args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME={name}");
            let pod = screen.step(&format!("{name} on n{number}"), || {
                let pod = Pod::attach_as(node, &node.network(), sandbox)?;
                let detail = format!("{}  {}", pod.address(Family::V4)?, pod.address(Family::V6)?);
                Ok((pod, detail))
            })?;
            pods.push((name.to_string(), pod));
        }
        let serve = |netns: &Netns, log: &str| {
            let mut server = Command::new(env::current_exe().context("find this program")?);
            Daemon::spawn(site, netns, server.args(["--serve", PAGE]), &site.dir().join(log))
        };
        let last = &pods.last().context("no pods")?.1;
        let servers = vec![serve(last.netns(), "pod.log")?, serve(fabric.world(), "world.log")?];
        Ok(Self { servers, pods, fabric })
    }

    /// The table of ways, by what the programs counted.
    pub(super) fn reach(&self, screen: &Screen) -> Result<()> {
        screen.part("Who reaches whom, and by which way: verdict and fastest of three pings");
        for family in Family::BOTH {
            let mut targets: Vec<(String, IpAddr)> = Vec::new();
            for (name, pod) in &self.pods[1..] {
                targets.push((name.clone(), pod.address(family)?));
            }
            for member in self.fabric.members() {
                targets.push((format!("n{}", member.number()), member.address(family)));
            }
            targets.push(("world".into(), self.fabric.world_address(family)));
            let mut rows = vec![[String::new()].into_iter().chain(targets.iter().map(|one| one.0.clone())).collect()];
            let own = self.fabric.node(1);
            for (name, pod) in &self.pods[..2] {
                let mut row = vec![format!("{name} (n1)")];
                for (target, address) in &targets {
                    let cell = if target == name { Ok("-".into()) } else { ways::ask(own, pod.netns(), *address) };
                    row.push(cell.with_context(|| format!("{name} to {target} at {address}"))?);
                }
                rows.push(row);
            }
            let version = if family == Family::V4 { 4 } else { 6 };
            screen.command(&format!("ping -{version} -c 3, from row to column"), &ways::table(&rows));
        }
        Ok(())
    }

    /// Pages, with the address under which the server saw the client.
    pub(super) fn fetch(&self, screen: &Screen) -> Result<()> {
        screen.part("Pages: pods see each other as they are, the world sees the node");
        let ((name, client), (far, server)) = (&self.pods[0], self.pods.last().context("no pods")?);
        for family in Family::BOTH {
            let (inside, outside) = (client.address(family)?, self.fabric.member(1).address(family));
            let targets = [
                (format!("{far} on the other node"), server.address(family)?, inside),
                ("the world".to_owned(), self.fabric.world_address(family), outside),
            ];
            for (whom, address, due) in targets {
                screen.step(&format!("{name} fetches {} from {whom}", super::stage::url(address)), || {
                    let page = web::fetch_soon(client.netns(), (address, web::PORT).into())?;
                    ensure!(page.trim_end() == format!("hello, {due}"), "the page says {page:?}, {due} was due");
                    Ok(((), format!("{:?}", page.trim_end())))
                })?;
            }
        }
        Ok(())
    }

    /// Every hop to the world answers, and the answers find the pod.
    pub(super) fn trace(&self, screen: &Screen) -> Result<()> {
        screen.part("The way to the world, hop by hop: ICMP errors come back through the translation");
        for family in Family::BOTH {
            let world = self.fabric.world_address(family);
            let prober = Prober::open(self.pods[0].1.netns(), family == Family::V4)?;
            let mut hops = Vec::new();
            while hops.last() != Some(&world) && hops.len() < 8 {
                prober.ttl(u8::try_from(hops.len() + 1)?)?;
                prober.send((world, 33_434).into(), 32)?;
                hops.push(prober.error()?.from);
            }
            ensure!(hops.last() == Some(&world), "the world did not answer: {hops:?}");
            let lines = hops.iter().enumerate().map(|(number, hop)| format!("{:>2}  {hop}", number + 1));
            screen.command(&format!("traceroute {world}"), &lines.collect::<Vec<_>>().join("\n"));
        }
        Ok(())
    }

    /// The datapath goes on without its agents.
    pub(super) fn restart_the_agents(&self, screen: &Screen) -> Result<()> {
        screen.part("The agents die and come back; nobody notices");
        screen.step("kill -9 and restart of all agents under running pings", || {
            let every = Duration::from_millis(2);
            let client = self.pods[0].1.netns();
            let far = &self.pods.last().context("no pods")?.1;
            let mut pings = Vec::new();
            for family in Family::BOTH {
                pings.push(Steady::start(client, far.address(family)?, every)?);
                pings.push(Steady::start(client, self.fabric.world_address(family), every)?);
            }
            thread::sleep(Duration::from_millis(20));
            for member in self.fabric.members() {
                member.node().stop_agent(Signal::SIGKILL)?;
            }
            thread::sleep(Duration::from_millis(20));
            self.fabric.start_agents()?;
            thread::sleep(Duration::from_millis(20));
            let (mut sent, mut lost) = (0, 0);
            for ping in pings {
                let report = ping.stop()?;
                (sent, lost) = (sent + report.sent, lost + report.lost());
            }
            ensure!(lost == 0, "{lost} of {sent} packets were lost");
            Ok(((), format!("{sent} sent, 0 lost")))
        })
    }

    /// What an operator sees.
    pub(super) fn look_inside(&self, screen: &Screen) -> Result<()> {
        screen.part("What the operator sees on n1");
        for words in [["flow", "list"], ["nat", "list"]] {
            command(screen, self.fabric.member(1), &words)?;
        }
        screen.step("no rule of netfilter on any node", || {
            for member in self.fabric.members() {
                for tool in ["iptables-save", "ip6tables-save"] {
                    let rules = exec::tool_in(member.node().netns(), tool, &[])?;
                    ensure!(rules.lines().all(|line| line.starts_with('#')), "{rules}");
                }
            }
            Ok(((), String::new()))
        })
    }

    /// What to type while it is up.
    pub(super) fn hints(&self, screen: &Screen) -> Result<()> {
        screen.part("It stays up. Type next:");
        let client = self.pods[0].1.netns().name();
        let node = self.fabric.node(1);
        let weft = format!("{} --run-dir {}", need::binary("weft")?.display(), node.run_dir().display());
        let far = &self.pods.last().context("no pods")?.1;
        let pages = [
            (far.address(Family::V4)?, "a page from a pod of another node"),
            (self.fabric.world_address(Family::V4), "a page from the world, which sees the node"),
        ];
        for (address, purpose) in pages {
            screen.hint(&format!("ip netns exec {client} curl {}", super::stage::url(address)), purpose);
        }
        screen.hint(&format!("{weft} flow list"), "flows that are translated");
        screen.hint(&format!("{weft} peer list"), "the other nodes");
        screen.hint(&format!("{weft} trace --help"), "one flow, decision by decision");
        screen.hint(
            &format!("cat {}", self.fabric.member(1).peers_file().display()),
            "edit it: it is read again at once",
        );
        let core = self.fabric.core().netns().name();
        screen.hint(&format!("ip netns exec {core} tcpdump -ni n1"), "what is on the wire of n1");
        screen.hint("cargo xtask demo --down", "take it all down");
        Ok(())
    }

    /// The pods leave, the agents stop, and nothing stays.
    pub(super) fn leave(mut self, screen: &Screen) -> Result<()> {
        screen.part("They leave: weft-cni DEL, then weft-agent cleanup");
        for server in &mut self.servers {
            server.end(STOP)?;
        }
        let places = [1].into_iter().chain(self.fabric.members().iter().map(Member::number));
        for (number, (name, pod)) in places.zip(&self.pods) {
            screen.step(&format!("{name} is detached"), || {
                pod.del(self.fabric.node(number.into()))?;
                ensure!(kernel::devices(pod.netns())?.is_empty(), "an interface stayed in {name}");
                Ok(((), String::new()))
            })?;
        }
        for member in self.fabric.members() {
            screen.step(&format!("n{} is cleaned up", member.number()), || {
                let node = member.node();
                storm::must_agree(node, &[])?;
                let status = node.stop_agent(STOP)?;
                ensure!(status.success(), "the agent ended with {status}:\n{}", node.agent_log());
                let output = node.run_agent(&["cleanup"])?;
                ensure!(output.status.success(), "cleanup: {}", output.complaint());
                let left = kernel::devices(node.netns())?;
                ensure!(left == [Member::UPLINK] && !node.bpf_dir().exists(), "left on the node: {left:?}");
                Ok(((), String::new()))
            })?;
        }
        Ok(())
    }
}

fn command(screen: &Screen, member: &Member, args: &[&str]) -> Result<()> {
    let output = member.node().weft(args)?;
    ensure!(output.status.success(), "weft {}: {}", args.join(" "), output.complaint());
    screen.command(&format!("weft {}", args.join(" ")), &output.text());
    Ok(())
}

//! What somebody else's rules on a node translate: answers go back through them.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use weft_tests::fabric::{Fabric, Layout, Routing};
use weft_tests::netns::Netns;
use weft_tests::node::{Attach, Family};
use weft_tests::pod::Pod;
use weft_tests::traffic::meet::{self, Tcp};
use weft_tests::{exec, on_every_fabric};

on_every_fabric!(
    a_node_port_leads_to_any_pod,
    an_address_of_a_service_is_reached_from_pods,
    datagrams_find_their_way_back
);

/// The port of the node, and of the pod behind it.
const NODE_PORT: u16 = 30_080;
const POD_PORT: u16 = 8_080;

struct Scene {
    /// Two pods of the first node and one of the second.
    pods: [Pod; 3],
    fabric: Fabric,
}

impl Scene {
    fn set(routing: Routing, attach: Attach) -> Result<Self> {
        Self::set_as(Layout::new(routing, attach))
    }

    fn set_as(layout: Layout) -> Result<Self> {
        let fabric = Fabric::start(layout.nodes(2))?;
        let pods = [fabric.node(1).pod()?, fabric.node(1).pod()?, fabric.node(2).pod()?];
        Ok(Self { pods, fabric })
    }

    fn node(&self, family: Family) -> IpAddr {
        self.fabric.member(1).address(family)
    }

    fn rule(&self, family: Family, rule: &str) -> Result<()> {
        let iptables = if family == Family::V4 { "iptables" } else { "ip6tables" };
        let args: Vec<&str> = rule.split(' ').collect();
        exec::tool_in(self.fabric.node(1).netns(), iptables, &args).map(drop)
    }

    /// Sends what is for `from` to this pod, as kube-proxy does: what would come back past the rules is masqueraded.
    fn publish(&self, family: Family, from: SocketAddr, protocol: &str, pod: &Pod) -> Result<()> {
        let inside = pod.address(family)?;
        let to = SocketAddr::new(inside, POD_PORT);
        self.rule(family, "-t nat -F")?;
        let (address, port) = (from.ip(), from.port());
        for chain in ["PREROUTING", "OUTPUT"] {
            self.rule(
                family,
                &format!("-t nat -A {chain} -d {address} -p {protocol} --dport {port} -j DNAT --to-destination {to}"),
            )?;
        }
        // Hairpin: the pod would answer itself.
        self.rule(family, &format!("-t nat -A POSTROUTING -s {inside} -d {inside} -j MASQUERADE"))?;
        // From outside to a pod that lives elsewhere: its answer would take another way.
        let pods = if family == Family::V4 { "10.244.0.0/16" } else { "fd00:10:244::/48" };
        let elsewhere = if family == Family::V4 { "10.244.2.0/24" } else { "fd00:10:244:2::/64" };
        self.rule(family, &format!("-t nat -A POSTROUTING ! -s {pods} -d {elsewhere} -j MASQUERADE"))
    }
}

/// A client, and what it is called.
fn clients(scene: &Scene) -> [(&'static str, &Netns); 5] {
    [
        ("the world", scene.fabric.world()),
        ("another node", scene.fabric.node(2).netns()),
        ("the node itself", scene.fabric.node(1).netns()),
        ("the first pod", scene.pods[0].netns()),
        ("the second pod", scene.pods[1].netns()),
    ]
}

fn a_node_port_leads_to_any_pod(routing: Routing, attach: Attach) -> Result<()> {
    let scene = Scene::set(routing, attach)?;
    for family in Family::BOTH {
        let target = SocketAddr::new(scene.node(family), NODE_PORT);
        for (number, pod) in scene.pods.iter().enumerate() {
            scene.publish(family, target, "tcp", pod)?;
            let server = Tcp::listen_at(pod.netns(), (pod.address(family)?, POD_PORT).into())?;
            for (who, client) in clients(&scene) {
                let wrong = || format!("{family:?}: {who} to pod {number} by the node's port");
                let (near, far, _) = server.pair(client, None, target).with_context(wrong)?;
                let talk = weft_tests::traffic::talk::Talk::start(near, far);
                std::thread::sleep(std::time::Duration::from_millis(10));
                talk.stop().with_context(wrong)?;
            }
        }
    }
    Ok(())
}

fn an_address_of_a_service_is_reached_from_pods(routing: Routing, attach: Attach) -> Result<()> {
    // Rules see only what goes through the stack.
    let scene = Scene::set_as(Layout::new(routing, attach).flag("--host-routing=false"))?;
    for family in Family::BOTH {
        // An address that nobody has, as that of a service.
        let service: IpAddr = if family == Family::V4 { "10.96.0.10" } else { "fd00:10:96::a" }.parse()?;
        let target = SocketAddr::new(service, 80);
        for (number, pod) in scene.pods.iter().enumerate() {
            scene.publish(family, target, "tcp", pod)?;
            let server = Tcp::listen_at(pod.netns(), (pod.address(family)?, POD_PORT).into())?;
            for (who, client) in &clients(&scene)[2..] {
                let wrong = || format!("{family:?}: {who} to pod {number} by the service's address");
                let met = server.meet(client, target).with_context(wrong)?;
                let is_pod = met.client.ip() == scene.pods[0].address(family)?;
                let hairpin = number == 0;
                if is_pod && !hairpin {
                    ensure!(met.seen == met.client, "{}: {met:?}", wrong());
                }
            }
        }
        // Without the rule it is nobody's again, and pods are as they were.
        scene.rule(family, "-t nat -F")?;
        let server = Tcp::listen_at(scene.pods[2].netns(), (scene.pods[2].address(family)?, POD_PORT).into())?;
        let met = server.meet(scene.pods[0].netns(), server.address())?;
        ensure!(met.seen == met.client, "{met:?}");
    }
    Ok(())
}

fn datagrams_find_their_way_back(routing: Routing, attach: Attach) -> Result<()> {
    let scene = Scene::set(routing, attach)?;
    for family in Family::BOTH {
        let target = SocketAddr::new(scene.node(family), NODE_PORT);
        for (number, pod) in scene.pods.iter().enumerate() {
            scene.publish(family, target, "udp", pod)?;
            let server = meet::udp_socket(pod.netns(), (pod.address(family)?, POD_PORT).into())?;
            for (who, client) in clients(&scene) {
                for size in [100, 4000] {
                    // Fragments wider than the pod's link are answered with "too big", and come smaller after that.
                    meet::udp(client, &server, target, size)
                        .or_else(|_| meet::udp(client, &server, target, size))
                        .with_context(|| format!("{family:?}: {size} bytes from {who} to pod {number}"))?;
                }
            }
        }
    }
    Ok(())
}

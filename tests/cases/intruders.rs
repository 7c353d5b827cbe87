//! Who is no peer, or speaks for somebody else's pods, reaches nobody.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_abi::{Direction, Reason};
use weft_cni::mac::Mac;
use weft_tests::fabric::{Core, Fabric, Layout, Member, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::packet::FrameSocket;
use weft_tests::packet::craft::Link;
use weft_tests::packet::datagram::{Datagram, Kind};
use weft_tests::pod::Pod;
use weft_tests::program::OVERLAY_PORT;
use weft_tests::traffic::ping;
use weft_tests::{drops, kernel, on_both_attachments};

on_both_attachments!(
    tunnel_packets_of_strangers_are_dropped,
    a_peer_s_lies_are_dropped,
    pods_of_peers_do_not_come_outside_the_tunnel,
    a_pod_cannot_send_tunnel_packets,
);

/// Bytes that no other packet has.
const MARK: &[u8] = b"weft-intruder-mark-77aa";

struct Scene {
    pods: Vec<Pod>,
    fabric: Fabric,
}

impl Scene {
    fn set(attach: Attach) -> Result<Self> {
        let fabric = Fabric::start(Layout::new(Routing::Overlay, attach))?;
        let pods = fabric.pods()?;
        ping::must_reach(pods[1].netns(), pods[0].address(Family::V4)?)?;
        Ok(Self { pods, fabric })
    }

    /// From the switch to the first node's uplink.
    fn link(&self) -> Result<Link> {
        let mac = |netns, device: &str| -> Result<Mac> {
            let link = kernel::ip(netns, &format!("link show {device}"))?;
            Ok(link[0]["address"].as_str().context("no MAC")?.parse()?)
        };
        let src = mac(self.fabric.core().netns(), Core::SWITCH)?;
        Ok(Link { src, dst: mac(self.fabric.node(1).netns(), Member::UPLINK)? })
    }

    /// A datagram with the mark to the first node's pod.
    fn inner(&self, src: IpAddr, family: Family) -> Result<Datagram> {
        let any = Mac([2, 0, 0, 0, 0, 9]);
        let packet = Datagram::new(Kind::Udp, (src, 5000).into(), (self.pods[0].address(family)?, 9).into());
        Ok(packet.link(Link { src: any, dst: any }).payload(MARK))
    }

    /// The same in a tunnel packet.
    fn tunnelled(&self, outer: IpAddr, vni: u8, inner: &Datagram) -> Result<Vec<u8>> {
        let family = if outer.is_ipv4() { Family::V4 } else { Family::V6 };
        let to = SocketAddr::new(self.fabric.member(1).address(family), OVERLAY_PORT);
        let payload = [&[8, 0, 0, 0, 0, 0, vni, 0][..], &inner.frame()].concat();
        Ok(Datagram::new(Kind::Udp, (outer, 50_000).into(), to).link(self.link()?).payload(&payload).frame())
    }

    /// Puts a frame on the first node's link; it must be dropped for this reason and seen by no pod.
    fn refuses(&self, frame: &[u8], reason: Reason) -> Result<()> {
        let node = self.fabric.node(1);
        let seen = FrameSocket::open(self.pods[0].netns(), "eth0")?;
        let before = drops::read(node)?;
        FrameSocket::open(self.fabric.core().netns(), &Core::port(1))?.send(frame)?;
        drops::wait_for(node, &before, reason, Direction::Ingress)?;
        let leaked = seen.wait_for(Duration::from_millis(50), |frame| frame.ends_with(MARK))?;
        ensure!(leaked.is_none(), "the pod saw it");
        Ok(())
    }
}

fn tunnel_packets_of_strangers_are_dropped(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    for family in Family::BOTH {
        let inner = scene.inner(scene.pods[1].address(family)?, family)?;
        for stranger in ["192.0.2.77", "192.0.2.1", "198.51.100.2", "2001:db8::77"] {
            let frame = scene.tunnelled(stranger.parse()?, 1, &inner)?;
            scene.refuses(&frame, Reason::UnknownPeer).with_context(|| format!("{family:?} from {stranger}"))?;
        }
        let friend = scene.fabric.member(2).address(Family::V4);
        let other_network = scene.tunnelled(friend, 2, &inner)?;
        scene.refuses(&other_network, Reason::UnknownPeer).context("another virtual network")?;
    }
    Ok(())
}

fn a_peer_s_lies_are_dropped(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    let liar = scene.fabric.member(2).address(Family::V4);
    for family in Family::BOTH {
        let world = scene.fabric.world_address(family);
        let others = [scene.pods[2].address(family)?, scene.pods[0].address(family)?, world];
        for src in others {
            let frame = scene.tunnelled(liar, 1, &scene.inner(src, family)?)?;
            scene.refuses(&frame, Reason::PeerSource).with_context(|| format!("n2 as {src}"))?;
        }
        // For a pod that is not here, and for somebody who is no pod: the tunnel is no way through this node.
        let honest = scene.inner(scene.pods[1].address(family)?, family)?;
        for dst in [scene.pods[2].address(family)?, world] {
            let frame = scene.tunnelled(liar, 1, &honest.to((dst, 9).into()))?;
            scene.refuses(&frame, Reason::NoSuchPod).with_context(|| format!("to {dst}"))?;
        }
    }
    Ok(())
}

fn pods_of_peers_do_not_come_outside_the_tunnel(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    for family in Family::BOTH {
        for src in [scene.pods[1].address(family)?, scene.pods[0].address(family)?] {
            let frame = scene.inner(src, family)?.link(scene.link()?).frame();
            scene.refuses(&frame, Reason::PeerSource).with_context(|| format!("as {src}"))?;
        }
    }
    Ok(())
}

fn a_pod_cannot_send_tunnel_packets(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    let host_end = scene.pods[1].host_ifname()?;
    let node = scene.fabric.node(2);
    let host = kernel::ip(node.netns(), &format!("link show {host_end}"))?;
    let link = Link { src: scene.pods[1].mac()?, dst: host[0]["address"].as_str().context("no MAC")?.parse()? };
    let inner = scene.inner(scene.pods[2].address(Family::V4)?, Family::V4)?;
    let payload = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &inner.frame()].concat();
    for family in Family::BOTH {
        let to = SocketAddr::new(scene.fabric.member(1).address(family), OVERLAY_PORT);
        let frame = Datagram::new(Kind::Udp, (scene.pods[1].address(family)?, 50_000).into(), to)
            .link(link)
            .payload(&payload)
            .frame();
        let seen = FrameSocket::open(scene.pods[0].netns(), "eth0")?;
        let before = drops::read(node)?;
        FrameSocket::open(scene.pods[1].netns(), "eth0")?.send(&frame)?;
        drops::wait_for(node, &before, Reason::TunnelSpoof, Direction::Egress)
            .with_context(|| format!("{family:?}"))?;
        let leaked = seen.wait_for(Duration::from_millis(50), |frame| frame.ends_with(MARK))?;
        ensure!(leaked.is_none(), "the pod saw it");
    }
    Ok(())
}

//! What a pod may not send is dropped, counted, recorded, and reaches nobody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use weft_abi::{Direction, Reason};
use weft_cni::api::{Drop, Drops};
use weft_cni::mac::Mac;
use weft_tests::node::{Attach, Family, Node};
use weft_tests::packet::FrameSocket;
use weft_tests::packet::craft::{self, BROADCAST, Link};
use weft_tests::pod::Pod;
use weft_tests::traffic::ping;
use weft_tests::{drops, kernel, on_both_attachments, on_every_path};

on_every_path!(
    another_pod_s_address_is_no_source,
    an_unleased_address_is_no_source,
    a_foreign_mac_is_no_source,
    a_lie_about_a_neighbour_is_dropped,
    broadcast_and_multicast_stay_with_their_sender,
);
on_both_attachments!(
    router_messages_of_a_pod_are_dropped,
    mapped_addresses_on_the_wire_are_dropped,
    tagged_frames_and_foreign_protocols_are_dropped,
    malformed_packets_are_dropped,
    honest_traffic_counts_no_drop,
    the_node_s_packets_for_someone_else_are_dropped,
);

/// Bytes that no other packet has.
const MARK: &[u8] = b"weft-guard-mark-5d1f";

struct Scene {
    node: Node,
    liar: Pod,
    victim: Pod,
    wire: FrameSocket,
}

impl Scene {
    fn set(attach: Attach) -> Result<Self> {
        let node = Node::start(attach)?;
        let (liar, victim) = (node.pod()?, node.pod()?);
        let wire = FrameSocket::open(liar.netns(), "eth0")?;
        Ok(Self { node, liar, victim, wire })
    }

    /// From the liar's MAC to the host end's, as an honest packet.
    fn link(&self) -> Result<Link> {
        Ok(Link { src: self.liar.mac()?, dst: self.host_mac()? })
    }

    fn host_mac(&self) -> Result<Mac> {
        let link = kernel::ip(self.node.netns(), &format!("link show {}", self.liar.host_ifname()?))?;
        Ok(link[0]["address"].as_str().context("no MAC")?.parse()?)
    }

    /// Sends a frame that must be dropped for this reason and never seen by the victim or the node.
    fn refuses(&self, frame: &[u8], reason: Reason) -> Result<Drop> {
        let seen_by_victim = FrameSocket::open(self.victim.netns(), "eth0")?;
        let before = drops::read(&self.node)?;
        self.wire.send(frame)?;
        let record = drops::wait_for(&self.node, &before, reason, Direction::Egress)?;
        let same = |other: &[u8]| other.len() == frame.len() && other[12..] == frame[12..];
        let leaked = seen_by_victim.wait_for(Duration::from_millis(50), same)?;
        ensure!(leaked.is_none(), "the other pod saw the packet that was counted as dropped");
        ensure!(record.endpoint == Some(self.liar.key()), "the record names {:?}", record.endpoint);
        ensure!(record.len as usize == frame.len(), "{record:?} of {} bytes", frame.len());
        Ok(record)
    }
}

fn two<T>(family: Family, v4: T, v6: T) -> T {
    if family == Family::V4 { v4 } else { v6 }
}

fn another_pod_s_address_is_no_source(attach: Attach, family: Family) -> Result<()> {
    let scene = Scene::set(attach)?;
    let third = scene.node.pod()?;
    let (stolen, to) = (third.address(family)?, scene.victim.address(family)?);
    let record = scene.refuses(&craft::udp(scene.link()?, stolen, to, 9, MARK)?, Reason::SourceAddr)?;
    assert_eq!((record.src, record.dst), (Some(stolen), Some(to)));
    assert_eq!((record.protocol, record.src_mac), (17, scene.liar.mac()?));
    Ok(())
}

fn an_unleased_address_is_no_source(attach: Attach, family: Family) -> Result<()> {
    let scene = Scene::set(attach)?;
    for source in two(family, ["10.244.0.250", "8.8.8.8", "127.0.0.1"], ["fd00:10:244::fa", "2001:db8::1", "::1"]) {
        let source: IpAddr = source.parse()?;
        let frame = craft::udp(scene.link()?, source, scene.victim.address(family)?, 9, MARK)?;
        scene.refuses(&frame, Reason::SourceAddr).with_context(|| format!("from {source}"))?;
        let to_node = craft::echo(scene.link()?, source, scene.node.gateway(family))?;
        scene.refuses(&to_node, Reason::SourceAddr).with_context(|| format!("from {source} to the node"))?;
    }
    Ok(())
}

fn a_foreign_mac_is_no_source(attach: Attach, family: Family) -> Result<()> {
    let scene = Scene::set(attach)?;
    for mac in [scene.victim.mac()?, Mac([2, 0, 0, 0, 0, 9])] {
        let link = Link { src: mac, dst: scene.host_mac()? };
        let frame = craft::udp(link, scene.liar.address(family)?, scene.victim.address(family)?, 9, MARK)?;
        let record = scene.refuses(&frame, Reason::SourceMac)?;
        assert_eq!(record.src_mac, mac);
    }
    Ok(())
}

fn a_lie_about_a_neighbour_is_dropped(attach: Attach, family: Family) -> Result<()> {
    let scene = Scene::set(attach)?;
    let own = scene.link()?;
    let everyone = Link { dst: BROADCAST, ..own };
    let foreign = Mac([2, 0, 0, 0, 0, 9]);
    let (liar, victim) = (scene.liar.address(family)?, scene.victim.address(family)?);
    let lies = match (liar, victim, scene.node.gateway(family)) {
        (IpAddr::V4(liar), IpAddr::V4(victim), IpAddr::V4(node)) => vec![
            ("speaks for another pod", craft::arp(own, true, own.src, victim, node)?),
            ("speaks for another pod to all", craft::arp(everyone, true, own.src, victim, victim)?),
            ("speaks for the gateway", craft::arp(own, true, own.src, weft_abi::GATEWAY_V4.into(), liar)?),
            ("gives a foreign MAC", craft::arp(own, true, foreign, liar, node)?),
            ("asks with another's address", craft::arp(everyone, false, own.src, victim, node)?),
        ],
        (IpAddr::V6(liar), IpAddr::V6(victim), IpAddr::V6(node)) => vec![
            ("speaks for another pod", craft::neighbour_advert(own, liar, node, victim, own.src)?),
            (
                "speaks for the gateway",
                craft::neighbour_advert(own, liar, node, Ipv6Addr::from(weft_abi::GATEWAY_V6), own.src)?,
            ),
            ("gives a foreign MAC", craft::neighbour_advert(own, liar, node, liar, foreign)?),
            ("asks with a foreign MAC", craft::neighbour_solicit(own, liar, node, node, foreign)?),
        ],
        _ => bail!("addresses of two families"),
    };
    for (lie, frame) in lies {
        scene.refuses(&frame, Reason::NeighSpoof).context(lie)?;
    }
    ping::must_reach(scene.node.netns(), victim).map(drop)
}

fn broadcast_and_multicast_stay_with_their_sender(attach: Attach, family: Family) -> Result<()> {
    let scene = Scene::set(attach)?;
    let source = scene.liar.address(family)?;
    let groups: [(Mac, IpAddr); 2] = match family {
        Family::V4 => {
            [(BROADCAST, Ipv4Addr::BROADCAST.into()), (Mac([1, 0, 0x5e, 0, 0, 0xfb]), IpAddr::from([224, 0, 0, 251]))]
        }
        Family::V6 => [
            (Mac([0x33, 0x33, 0, 0, 0, 0xfb]), "ff02::fb".parse()?),
            (Mac([0x33, 0x33, 0, 1, 0, 1]), "ff05::1:1".parse()?),
        ],
    };
    for (mac, group) in groups {
        let link = Link { dst: mac, ..scene.link()? };
        scene
            .refuses(&craft::udp(link, source, group, 5353, MARK)?, Reason::Multicast)
            .with_context(|| group.to_string())?;
    }
    // The group in the IP header behind a unicast frame is no way around.
    let frame = craft::udp(scene.link()?, source, groups[1].1, 5353, MARK)?;
    scene.refuses(&frame, Reason::Multicast)?;
    Ok(())
}

fn router_messages_of_a_pod_are_dropped(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    let IpAddr::V6(source) = scene.liar.address(Family::V6)? else { bail!("an IPv6 address was due") };
    let IpAddr::V6(node) = scene.node.gateway(Family::V6) else { bail!("an IPv6 address was due") };
    scene.refuses(&craft::router_advert(scene.link()?, source, node)?, Reason::RogueRouter)?;
    Ok(())
}

fn mapped_addresses_on_the_wire_are_dropped(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        v6 @ IpAddr::V6(_) => v6,
    };
    let (liar, victim) = (scene.liar.address(Family::V4)?, scene.victim.address(Family::V4)?);
    let own = scene.liar.address(Family::V6)?;
    for (src, dst) in [(mapped(liar), mapped(victim)), (own, mapped(victim))] {
        scene.refuses(&craft::udp(scene.link()?, src, dst, 9, MARK)?, Reason::MappedAddr)?;
    }
    Ok(())
}

fn tagged_frames_and_foreign_protocols_are_dropped(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    let (liar, victim) = (scene.liar.address(Family::V4)?, scene.victim.address(Family::V4)?);
    let honest = craft::udp(scene.link()?, liar, victim, 9, MARK)?;
    let behind = |ethertype: &[u8]| [&honest[..12], ethertype, &honest[14..]].concat();
    // Novell IPX, MPLS, and EtherCAT: nothing that a pod's network carries.
    for ethertype in [[0x81, 0x37], [0x88, 0x47], [0x88, 0xa4]] {
        let record = scene.refuses(&behind(&ethertype), Reason::EtherType)?;
        assert_eq!(record.ethertype.to_be_bytes(), ethertype);
    }
    // The kernel takes a tag off the frame before the program sees it, so the record counts four bytes less.
    let tagged = [&honest[..12], &[0x81, 0, 0, 5], &honest[12..]].concat();
    let before = drops::read(&scene.node)?;
    scene.wire.send(&tagged)?;
    drops::wait_for(&scene.node, &before, Reason::VlanTag, Direction::Egress).map(|_| ())
}

fn malformed_packets_are_dropped(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    for family in Family::BOTH {
        let honest = craft::udp(scene.link()?, scene.liar.address(family)?, scene.victim.address(family)?, 9, MARK)?;
        let header = two(family, 20, 40);
        scene.refuses(&honest[..14 + header - 1], Reason::Malformed).context("a header cut short")?;
        let mut wrong_version = honest.clone();
        wrong_version[14] = 0xf5;
        scene.refuses(&wrong_version, Reason::Malformed).context("no such IP version")?;
        let length_at = 14 + two(family, 2, 4);
        let mut too_long = honest.clone();
        too_long[length_at..length_at + 2].copy_from_slice(&2000_u16.to_be_bytes());
        scene.refuses(&too_long, Reason::Malformed).context("a length beyond the packet")?;
    }
    Ok(())
}

fn honest_traffic_counts_no_drop(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    // Kernels report their multicast groups (RFC 3810) on their own; what a pod reports ends here.
    let wrong = |drops: &Drops| drops::total(drops) - drops::count(drops, Reason::Multicast, Direction::Egress);
    let before = wrong(&drops::read(&scene.node)?);
    for family in Family::BOTH {
        ping::must_reach(scene.liar.netns(), scene.victim.address(family)?)?;
        ping::must_reach(scene.liar.netns(), scene.node.gateway(family))?;
        ping::must_reach(scene.node.netns(), scene.victim.address(family)?)?;
    }
    let after = drops::read(&scene.node)?;
    let delivered = drops::count(&after, Reason::Delivered, Direction::Egress);
    assert!(delivered >= 12, "six pings and six replies are not all in {after:?}");
    assert_eq!(wrong(&after), before, "{after:?}");
    Ok(())
}

fn the_node_s_packets_for_someone_else_are_dropped(attach: Attach) -> Result<()> {
    let scene = Scene::set(attach)?;
    for family in Family::BOTH {
        let host_end = scene.victim.host_ifname()?;
        let link = Link { src: scene.host_mac()?, dst: scene.victim.mac()? };
        let stray = scene.liar.address(family)?;
        let frame = craft::udp(link, scene.node.gateway(family), stray, 9, MARK)?;
        let seen = FrameSocket::open(scene.victim.netns(), "eth0")?;
        let before = drops::read(&scene.node)?;
        // A packet that the program drops on its way out is refused to its sender.
        let refused = FrameSocket::open(scene.node.netns(), &host_end)?.send(&frame).err().context("it was sent")?;
        let errno = refused.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        ensure!(errno == Some(libc::ENOBUFS), "{refused:#}");
        drops::wait_for(&scene.node, &before, Reason::NotForPod, Direction::Ingress)?;
        let leaked = seen.wait_for(Duration::from_millis(50), |other| other.ends_with(MARK))?;
        assert_eq!(leaked, None, "the pod got a packet for another address");
    }
    Ok(())
}

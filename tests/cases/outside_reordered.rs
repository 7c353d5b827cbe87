//! Fragments that overtake the first one, which alone has the ports.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use weft_tests::fabric::{Core, Fabric, Layout, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::packet::FrameSocket;
use weft_tests::packet::craft::Link;
use weft_tests::packet::datagram::{Datagram, Kind};
use weft_tests::pod::Pod;
use weft_tests::site::Site;
use weft_tests::traffic::meet;
use weft_tests::{kernel, on_both_routings};

on_both_routings!(fragments_in_reverse_order_arrive, fragments_in_reverse_order_arrive_by_the_stack);

fn fragments_in_reverse_order_arrive(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach))?;
    must_take_reverse_order(&fabric, &fabric.node(1).pod()?)
}

fn fragments_in_reverse_order_arrive_by_the_stack(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::lay(&Site::of_tests()?, Layout::new(routing, attach).flag("--host-routing=false"))?;
    // A fragment that comes once more comes by another device than its source is reached by.
    for devices in ["all", "default"] {
        kernel::set_sysctl(fabric.node(1).netns(), &format!("net/ipv4/conf/{devices}/rp_filter"), "1")?;
    }
    fabric.start_agents()?;
    must_take_reverse_order(&fabric, &fabric.node(1).pod()?)
}

fn must_take_reverse_order(fabric: &Fabric, pod: &Pod) -> Result<()> {
    let far_mac = |netns, device: &str| -> Result<_> {
        Ok(kernel::ip(netns, &format!("link show {device}"))?[0]["address"].as_str().context("no MAC")?.parse()?)
    };
    for family in Family::BOTH {
        let (inside, world) = (pod.address(family)?, fabric.world_address(family));
        let udp = meet::udp_socket(fabric.world(), (world, 0).into())?;
        let any: IpAddr = if family == Family::V4 { [0; 4].into() } else { [0_u16; 8].into() };
        let asking = meet::udp_socket(pod.netns(), (any, 0).into())?;
        let met = meet::udp_from(&asking, &udp, udp.local_addr()?, 100)?;
        // Out.
        let link = Link { src: pod.mac()?, dst: far_mac(fabric.node(1).netns(), &pod.host_ifname()?)? };
        let sent = Datagram::new(Kind::Udp, (inside, met.client.port()).into(), udp.local_addr()?).link(link);
        let wire = FrameSocket::open(pod.netns(), "eth0")?;
        for piece in sent.payload(&[7; 4096]).pieces(1200, 4711).iter().rev() {
            wire.send(piece)?;
        }
        let mut got = vec![0; 5000];
        let (len, from) = udp.recv_from(&mut got).with_context(|| format!("{family:?}: out, in reverse order"))?;
        ensure!(len == 4096 && from.ip() == met.seen.ip(), "{len} bytes from {from}");
        // And back.
        let link = Link { src: far_mac(fabric.world(), "eth0")?, dst: far_mac(fabric.core().netns(), Core::TO_WORLD)? };
        let back = Datagram::new(Kind::Udp, udp.local_addr()?, met.seen).link(link).payload(&[8; 4096]);
        let wire = FrameSocket::open(fabric.world(), "eth0")?;
        for piece in back.pieces(1200, 4712).iter().rev() {
            wire.send(piece)?;
        }
        let len = asking.recv(&mut got).with_context(|| format!("{family:?}: back, in reverse order"))?;
        ensure!(len == 4096, "{len} bytes");
    }
    Ok(())
}

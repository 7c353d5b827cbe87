//! The ways off a node change while pods use them.

use std::time::Duration;

use anyhow::{Result, ensure};
use weft_tests::fabric::{Core, Fabric, Layout, Member, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::pod::Pod;
use weft_tests::traffic::meet::Tcp;
use weft_tests::traffic::ping;
use weft_tests::{exec, kernel, on_both_routings, on_every_fabric, wait};

on_every_fabric!(a_new_address_is_used_by_new_flows, a_link_that_flaps_is_used_again, a_device_appears_and_disappears);
on_both_routings!(named_devices_alone_are_uplinks, a_flow_keeps_its_address_while_the_node_has_it);

const SOON: Duration = Duration::from_secs(3);

fn set(layout: Layout) -> Result<(Fabric, Pod)> {
    let fabric = Fabric::start(layout.nodes(2))?;
    let pod = fabric.node(1).pod()?;
    Ok((fabric, pod))
}

/// Waits until the world sees new flows of the pod as from this address.
fn until_seen_as(fabric: &Fabric, pod: &Pod, family: Family, due: &str) -> Result<()> {
    let server = Tcp::listen(fabric.world(), fabric.world_address(family))?;
    let mut last = None;
    wait::until(&format!("the world sees {due}"), SOON, || {
        let met = server.meet(pod.netns(), server.address())?;
        last = Some(met.seen.ip());
        Ok(met.seen.ip() == due.parse::<std::net::IpAddr>()?)
    })
    .map(drop)
    .map_err(|error| error.context(format!("it saw {last:?}")))
}

fn readdress(fabric: &Fabric) -> Result<()> {
    let (member, device) = (fabric.member(1), Member::UPLINK);
    let netns = member.node().netns();
    kernel::set_sysctl(netns, "net/ipv4/conf/all/promote_secondaries", "1")?;
    exec::ip_batch(
        netns,
        &[
            &format!("addr add 192.0.2.61/24 dev {device}"),
            &format!("addr add 2001:db8::61/64 dev {device} nodad"),
            &format!("addr del {}/24 dev {device}", member.address(Family::V4)),
            &format!("addr del {}/64 dev {device}", member.address(Family::V6)),
            "route replace default via 192.0.2.1",
            "route replace default via 2001:db8::1",
        ],
    )
}

fn a_new_address_is_used_by_new_flows(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(Layout::new(routing, attach))?;
    for family in Family::BOTH {
        ping::must_reach(pod.netns(), fabric.world_address(family))?;
    }
    readdress(&fabric)?;
    until_seen_as(&fabric, &pod, Family::V4, "192.0.2.61")?;
    until_seen_as(&fabric, &pod, Family::V6, "2001:db8::61")
}

fn a_link_that_flaps_is_used_again(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(Layout::new(routing, attach))?;
    let other = fabric.node(2).pod()?;
    let netns = fabric.node(1).netns();
    for _ in 0..2 {
        exec::ip_batch(netns, &[&format!("link set {} down", Member::UPLINK)])?;
        std::thread::sleep(Duration::from_millis(150));
        // The kernel takes routes and IPv6 addresses away with the link; whoever runs the network puts them back.
        exec::ip_batch(
            netns,
            &[
                &format!("link set {} up", Member::UPLINK),
                &format!("addr replace {}/64 dev {} nodad", fabric.member(1).address(Family::V6), Member::UPLINK),
                "route replace default via 192.0.2.1",
                "route replace default via 2001:db8::1",
            ],
        )?;
        for family in Family::BOTH {
            for address in [fabric.world_address(family), other.address(family)?] {
                wait::until(&format!("{address} is reached after a flap"), SOON, || {
                    Ok(ping::ping(pod.netns(), address, 1)?.lost() == 0)
                })?;
            }
        }
    }
    Ok(())
}

fn a_device_appears_and_disappears(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(Layout::new(routing, attach))?;
    let (netns, core) = (fabric.node(1).netns(), fabric.core().netns());
    until_seen_as(&fabric, &pod, Family::V4, "192.0.2.11")?;
    for _ in 0..2 {
        exec::ip_batch(
            netns,
            &[
                &format!("link add up1 type veth peer name {} netns {}", Core::TO_SECOND, core.name()),
                "addr add 198.18.0.11/24 dev up1",
                "addr add 2001:db8:18::11/64 dev up1 nodad",
                "link set up1 up",
            ],
        )?;
        exec::ip_batch(
            core,
            &[
                &format!("addr add 198.18.0.1/24 dev {}", Core::TO_SECOND),
                &format!("addr add 2001:db8:18::1/64 dev {} nodad", Core::TO_SECOND),
                &format!("link set {} up", Core::TO_SECOND),
            ],
        )?;
        exec::ip_batch(netns, &["route replace default via 198.18.0.1", "route replace default via 2001:db8:18::1"])?;
        until_seen_as(&fabric, &pod, Family::V4, "198.18.0.11")?;
        until_seen_as(&fabric, &pod, Family::V6, "2001:db8:18::11")?;
        exec::ip_batch(
            netns,
            &["link del up1", "route replace default via 192.0.2.1", "route replace default via 2001:db8::1"],
        )?;
        until_seen_as(&fabric, &pod, Family::V4, "192.0.2.11")?;
        until_seen_as(&fabric, &pod, Family::V6, "2001:db8::11")?;
    }
    Ok(())
}

fn named_devices_alone_are_uplinks(routing: Routing, attach: Attach) -> Result<()> {
    let layout = Layout::new(routing, attach).second_uplink().flag("--devices=up0");
    let (fabric, pod) = set(layout)?;
    let status = fabric.member(1).weft(&["status"])?;
    let uplinks = status["network"]["uplinks"].as_array().cloned().unwrap_or_default();
    let names: Vec<_> = uplinks.iter().filter_map(|uplink| uplink["device"].as_str()).collect();
    ensure!(names == ["up0"], "{status}");
    until_seen_as(&fabric, &pod, Family::V4, "192.0.2.11")?;
    let (fabric, _pod) = set(Layout::new(routing, attach).second_uplink().flag("--devices=up*"))?;
    let status = fabric.member(1).weft(&["status"])?;
    let uplinks = status["network"]["uplinks"].as_array().cloned().unwrap_or_default();
    ensure!(uplinks.len() == 2, "{status}");
    Ok(())
}

fn a_flow_keeps_its_address_while_the_node_has_it(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(Layout::new(routing, attach))?;
    let server = Tcp::listen(fabric.world(), fabric.world_address(Family::V4))?;
    let (near, far, met) = server.pair(pod.netns(), None, server.address())?;
    ensure!(met.seen.ip() == fabric.member(1).address(Family::V4));
    // A second address is no reason to change anybody's.
    exec::ip_batch(fabric.node(1).netns(), &[&format!("addr add 192.0.2.61/24 dev {}", Member::UPLINK)])?;
    let talk = weft_tests::traffic::talk::Talk::start(near, far);
    std::thread::sleep(Duration::from_millis(300));
    talk.stop()?;
    until_seen_as(&fabric, &pod, Family::V4, "192.0.2.11")
}

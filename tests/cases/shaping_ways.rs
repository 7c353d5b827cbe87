//! Every way into a pod and out of it.

use anyhow::Result;
use weft_tests::fabric::{Fabric, Layout, Routing};
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::traffic::flood::{self, Tcp};
use weft_tests::{on_both_attachments, on_both_routings};

use super::{ONE, RATE, TIME, bits, limited, must_be_free, must_be_within, must_hold, stream};

on_both_attachments!(
    between_pods_of_a_node_each_direction_has_its_own_limit,
    eight_streams_and_datagrams_are_held,
    both_families_share_a_limit,
    the_node_is_held_like_others,
);
on_both_routings!(to_other_nodes_and_the_world);

fn between_pods_of_a_node_each_direction_has_its_own_limit(attach: Attach) -> Result<()> {
    let node = Node::start_with(Settings::new(attach))?;
    let (sends, receives, free) = (limited(&node, None, Some(RATE))?, limited(&node, Some(RATE), None)?, node.pod()?);
    for family in [Family::V4, Family::V6] {
        let to = free.address(family)?;
        must_hold("egress", &stream(sends.netns(), free.netns(), to)?, RATE)?;
        must_be_free("against egress", free.netns(), sends.netns(), sends.address(family)?)?;
        must_hold("ingress", &stream(free.netns(), receives.netns(), receives.address(family)?)?, RATE)?;
        must_be_free("against ingress", receives.netns(), free.netns(), to)?;
    }
    Ok(())
}

fn eight_streams_and_datagrams_are_held(attach: Attach) -> Result<()> {
    let node = Node::start_with(Settings::new(attach))?;
    let (pod, other) = (limited(&node, Some(RATE), Some(2 * RATE))?, node.pod()?);
    let (there, here) = (pod.address(Family::V4)?, other.address(Family::V4)?);
    let eight = Tcp { streams: 8, ..ONE };
    must_hold("ingress, eight", &flood::tcp(other.netns(), pod.netns(), there, eight)?, RATE)?;
    must_hold("egress, eight", &flood::tcp(pod.netns(), other.netns(), here, eight)?, 2 * RATE)?;
    for (what, from, to, address, rate) in
        [("ingress, UDP", &other, &pod, there, RATE), ("egress, UDP", &pod, &other, here, 2 * RATE)]
    {
        let rate = bits(rate)?;
        let reached = flood::udp(from.netns(), to.netns(), address, 2.0 * rate, TIME)?;
        must_be_within(what, &reached, rate, 0.97..1.03)?;
    }
    Ok(())
}

fn both_families_share_a_limit(attach: Attach) -> Result<()> {
    let node = Node::start_with(Settings::new(attach))?;
    let (pod, other) = (limited(&node, Some(RATE), None)?, node.pod()?);
    let addresses = [pod.address(Family::V4)?, pod.address(Family::V6)?];
    let both = std::thread::scope(|scope| {
        let threads = addresses.map(|address| {
            let (other, pod) = (&other, &pod);
            scope.spawn(move || flood::tcp(other.netns(), pod.netns(), address, ONE))
        });
        threads.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let [v4, v6] = both;
    must_hold("both together", &(v4? + v6?), RATE)
}

fn the_node_is_held_like_others(attach: Attach) -> Result<()> {
    let node = Node::start_with(Settings::new(attach))?;
    let pod = limited(&node, Some(RATE), Some(RATE))?;
    for family in [Family::V4, Family::V6] {
        must_hold("from the node", &stream(node.netns(), pod.netns(), pod.address(family)?)?, RATE)?;
        must_hold("to the node", &stream(pod.netns(), node.netns(), node.gateway(family))?, RATE)?;
    }
    Ok(())
}

fn to_other_nodes_and_the_world(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach).nodes(2))?;
    let pod = limited(fabric.node(1), Some(RATE), Some(RATE))?;
    let other = fabric.node(2).pod()?;
    for family in [Family::V4, Family::V6] {
        let (here, there) = (pod.address(family)?, other.address(family)?);
        must_hold("to another node", &stream(pod.netns(), other.netns(), there)?, RATE)?;
        must_hold("from another node", &stream(other.netns(), pod.netns(), here)?, RATE)?;
        let world = fabric.world_address(family);
        must_hold("to the world", &stream(pod.netns(), fabric.world(), world)?, RATE)?;
        must_hold("from the world", &flood::tcp_back(pod.netns(), fabric.world(), world, ONE)?, RATE)?;
    }
    Ok(())
}

//! Services by kube-proxy: by ports of nodes, and by addresses outside the cluster.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use weft_tests::fabric::Routing;
use weft_tests::netns::Netns;
use weft_tests::node::Family;
use weft_tests::proxy::{Backend, Mode, Protocol, Scene};
use weft_tests::traffic::meet::Tcp;
use weft_tests::traffic::stream;
use weft_tests::{in_every_mode, kernel};

in_every_mode!(anybody_asks_a_port_of_a_node, anybody_asks_an_outer_address, a_node_that_serves_alone_shows_the_client,);

/// Who asks, and what they are called.
fn clients(scene: &Scene) -> [(&'static str, &Netns); 5] {
    [
        ("the world", scene.fabric().world()),
        ("the node", scene.fabric().node(1).netns()),
        ("the other node", scene.fabric().node(2).netns()),
        ("a pod", scene.near().netns()),
        ("a pod of the other node", scene.pod(Backend::Far).netns()),
    ]
}

fn anybody_asks_a_port_of_a_node(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            for backend in Backend::ALL {
                scene.publish(family, &[scene.service(family, protocol, &[backend])?])?;
                for (who, client) in clients(&scene) {
                    let wrong = || format!("{family:?} {protocol} from {who} to {backend:?}");
                    let before = scene.forwarded()?;
                    let met = scene.talk(protocol, backend, client, scene.port_of(1, family)).with_context(wrong)?;
                    scene.must_be_tracked().with_context(wrong)?;
                    if who == "the world" && backend == Backend::Far {
                        // The node asks in its own name, from the side on which the other node's pods are.
                        let node = match routing {
                            Routing::Overlay => scene.fabric().node(1).gateway(family),
                            Routing::Native => scene.fabric().member(1).address(family),
                        };
                        ensure!(met.seen.ip() == node, "{}: {met:?}", wrong());
                        let after = scene.forwarded()?;
                        ensure!(after[0].all > before[0].all, "{}: past the first node's stack", wrong());
                        ensure!(after[1] == before[1], "{}: by the second node's stack: {after:?}", wrong());
                    }
                }
            }
        }
    }
    Ok(())
}

/// IPv4 by iptables alone: kube-proxy has no such ports otherwise.
#[test]
fn a_node_asks_a_port_by_its_loopback_address() -> Result<()> {
    for (routing, mode) in [(Routing::Overlay, Mode::Iptables), (Routing::Native, Mode::Legacy)] {
        let scene = Scene::set(routing, mode)?;
        let node = scene.fabric().node(1).netns();
        kernel::set_sysctl(node, "net/ipv4/conf/all/route_localnet", "1")?;
        let target = SocketAddr::from(([127, 0, 0, 1], Scene::NODE_PORT));
        for protocol in Protocol::BOTH {
            for backend in [Backend::Same, Backend::Far] {
                let wrong = || format!("{routing:?}, {mode:?}: {protocol} to {backend:?}");
                scene.publish(Family::V4, &[scene.service(Family::V4, protocol, &[backend])?])?;
                scene.talk(protocol, backend, node, target).with_context(wrong)?;
                scene.must_be_tracked().with_context(wrong)?;
            }
        }
    }
    Ok(())
}

fn anybody_asks_an_outer_address(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    let node = scene.fabric().node(2).netns();
    let listen = |family| Tcp::listen_at(node, SocketAddr::new(scene.fabric().member(2).address(family), 8443));
    let older = Family::BOTH.map(|family| -> Result<_> {
        let listener = listen(family)?;
        listener.pair(scene.near().netns(), None, listener.address())
    });
    scene.declare_outer()?;
    for older in older {
        let (near, far, met) = older?;
        stream::both_ways_on(&near, &far, 1 << 20).with_context(|| format!("older than the service: {met:?}"))?;
    }
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            for backend in Backend::ALL {
                let mut service = scene.service(family, protocol, &[backend])?;
                service.outer = scene.outer(family).to_vec();
                scene.publish(family, &[service])?;
                for (who, client) in clients(&scene) {
                    for address in scene.outer(family).into_iter().chain([Scene::address(family)]) {
                        let wrong = || format!("{protocol} from {who} by {address} to {backend:?}");
                        let target = SocketAddr::new(address, Scene::cluster(family).port());
                        scene.talk(protocol, backend, client, target).with_context(wrong)?;
                        scene.must_be_tracked().with_context(wrong)?;
                    }
                }
            }
        }
        // What else the second node is asked for, its own address among the service's.
        let listener = listen(family)?;
        for client in [scene.near().netns(), scene.fabric().world()] {
            listener.meet(client, listener.address()).with_context(|| format!("{:?}", listener.address()))?;
        }
        scene.talk(Protocol::Udp, Backend::Same, node, scene.endpoint(Backend::Same, family)?)?;
        scene.must_be_tracked()?;
        let serving = scene.endpoint(Backend::Far, family)?;
        Tcp::listen_at(scene.pod(Backend::Far).netns(), serving)?.meet(scene.near().netns(), serving)?;
    }
    Ok(())
}

fn a_node_that_serves_alone_shows_the_client(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    scene.declare_outer()?;
    for family in Family::BOTH {
        let outer = scene.outer(family)[0];
        for protocol in Protocol::BOTH {
            let mut service = scene.service(family, protocol, &[Backend::Same])?;
            (service.local, service.outer) = (true, vec![outer]);
            scene.publish(family, &[service])?;
            for (who, client) in clients(&scene) {
                let wrong = || format!("{family:?} {protocol} from {who}");
                let met = scene.talk(protocol, Backend::Same, client, scene.port_of(1, family)).with_context(wrong)?;
                if who != "the node" && who != "a pod of the other node" {
                    ensure!(met.seen == met.client, "{}: {met:?}", wrong());
                }
                scene.must_be_tracked().with_context(wrong)?;
            }
            let target = SocketAddr::new(outer, Scene::cluster(family).port());
            let met = scene.talk(protocol, Backend::Same, scene.fabric().world(), target)?;
            ensure!(met.seen == met.client, "{family:?} {protocol} by {target}: {met:?}");
            scene.must_be_tracked()?;
            let other = scene.port_of(2, family);
            let refused = scene.talk(protocol, Backend::Same, scene.fabric().world(), other);
            ensure!(refused.is_err(), "{family:?} {protocol}: the other node has no such pod: {refused:?}");
        }
    }
    Ok(())
}

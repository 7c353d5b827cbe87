//! Services by kube-proxy: by ports of nodes.

use anyhow::{Context, Result, ensure};
use weft_tests::fabric::Routing;
use weft_tests::in_every_mode;
use weft_tests::netns::Netns;
use weft_tests::node::Family;
use weft_tests::proxy::{Backend, Mode, Protocol, Scene};

in_every_mode!(anybody_asks_a_port_of_a_node, a_node_that_serves_alone_shows_the_client);

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
                    scene.talk(protocol, backend, client, scene.port_of(1, family)).with_context(wrong)?;
                    scene.must_be_tracked().with_context(wrong)?;
                }
            }
        }
    }
    Ok(())
}

fn a_node_that_serves_alone_shows_the_client(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            let mut service = scene.service(family, protocol, &[Backend::Same])?;
            service.local = true;
            scene.publish(family, &[service])?;
            for (who, client) in clients(&scene) {
                let wrong = || format!("{family:?} {protocol} from {who}");
                let met = scene.talk(protocol, Backend::Same, client, scene.port_of(1, family)).with_context(wrong)?;
                if who != "the node" && who != "a pod of the other node" {
                    ensure!(met.seen == met.client, "{}: {met:?}", wrong());
                }
                scene.must_be_tracked().with_context(wrong)?;
            }
            let other = scene.port_of(2, family);
            let refused = scene.talk(protocol, Backend::Same, scene.fabric().world(), other);
            ensure!(refused.is_err(), "{family:?} {protocol}: the other node has no such pod: {refused:?}");
        }
    }
    Ok(())
}

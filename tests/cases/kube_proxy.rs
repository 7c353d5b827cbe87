//! Services by kube-proxy: by their addresses inside the cluster.

use anyhow::{Context, Result, ensure};
use weft_tests::fabric::Routing;
use weft_tests::in_every_mode;
use weft_tests::node::Family;
use weft_tests::proxy::{Backend, Mode, Protocol, Scene};

in_every_mode!(a_pod_asks_a_service, a_node_asks_a_service);

fn a_pod_asks_a_service(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            for backend in Backend::ALL {
                let wrong = || format!("{family:?} {protocol} to {backend:?}");
                scene.publish(family, &[scene.service(family, protocol, &[backend])?])?;
                let met =
                    scene.talk(protocol, backend, scene.near().netns(), Scene::cluster(family)).with_context(wrong)?;
                // A pod that asks itself would take its own address for its own.
                let kept = met.seen == met.client;
                ensure!(kept == (backend != Backend::Itself), "{}: {met:?}", wrong());
                scene.must_be_tracked().with_context(wrong)?;
            }
        }
    }
    Ok(())
}

fn a_node_asks_a_service(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            for backend in [Backend::Same, Backend::Far] {
                let wrong = || format!("{family:?} {protocol} to {backend:?}");
                scene.publish(family, &[scene.service(family, protocol, &[backend])?])?;
                let node = scene.fabric().node(1).netns();
                scene.talk(protocol, backend, node, Scene::cluster(family)).with_context(wrong)?;
                scene.must_be_tracked().with_context(wrong)?;
            }
        }
    }
    Ok(())
}

//! Services by kube-proxy: which packets take the stack's way, and what else has to find its way back.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use weft_tests::fabric::Routing;
use weft_tests::in_every_mode;
use weft_tests::node::Family;
use weft_tests::proxy::{Backend, Mode, Protocol, Scene};
use weft_tests::traffic::errors::Prober;
use weft_tests::traffic::meet::Tcp;
use weft_tests::traffic::{ping, stream};

in_every_mode!(
    what_is_for_no_service_keeps_the_fast_way,
    errors_find_who_asked_a_service,
    a_client_stays_with_its_pod,
    a_service_comes_and_goes_under_a_connection,
);

fn what_is_for_no_service_keeps_the_fast_way(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    for family in Family::BOTH {
        let near = scene.near().netns();
        for backend in [Backend::Same, Backend::Far] {
            scene.publish(family, &[scene.service(family, Protocol::Tcp, &[backend])?])?;
            // The stack carries one flow of each pod: others are not drawn after it.
            let listener = Tcp::listen_at(scene.pod(backend).netns(), scene.endpoint(backend, family)?)?;
            let (asking, serving, _) = listener.pair(near, None, Scene::cluster(family))?;
            let before = scene.forwarded()?;
            let direct = scene.endpoint(backend, family)?;
            let (client, server, met) = listener.pair(near, None, direct)?;
            stream::both_ways_on(&client, &server, 8 << 20)?;
            ensure!(met.seen == met.client, "{met:?}");
            let world = scene.fabric().world_address(family);
            stream::both_ways(near, scene.fabric().world(), world, 8 << 20)?;
            ping::must_reach(near, world)?;
            let after = scene.forwarded()?;
            ensure!(after == before, "{family:?} {backend:?}: the stack has carried {before:?}, then {after:?}");
            stream::both_ways_on(&asking, &serving, 1 << 20)?;
            ensure!(scene.forwarded()?[0].all > before[0].all, "the service's flow is carried by the stack");
        }
        scene.must_be_tracked()?;
    }
    Ok(())
}

fn errors_find_who_asked_a_service(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    for family in Family::BOTH {
        let (v4, service) = (family == Family::V4, Scene::address(family));
        for backend in [Backend::Same, Backend::Far] {
            scene.publish(family, &[scene.service(family, Protocol::Udp, &[backend])?])?;
            // Nobody listens there.
            let prober = Prober::open(scene.near().netns(), v4)?;
            prober.send(Scene::cluster(family), 10)?;
            let error = prober.error().with_context(|| format!("{family:?} {backend:?}"))?;
            let port_unreachable = if v4 { (3, 3) } else { (1, 4) };
            ensure!((error.kind, error.code) == port_unreachable && error.from == service, "{backend:?}: {error:?}");
        }
    }
    Ok(())
}

fn a_client_stays_with_its_pod(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    for family in Family::BOTH {
        let backends = [Backend::Same, Backend::Far];
        let mut service = scene.service(family, Protocol::Tcp, &backends)?;
        let listeners =
            backends.map(|backend| Tcp::listen_at(scene.pod(backend).netns(), scene.endpoint(backend, family)?));
        let [same, far] = listeners;
        let listeners = [same?, far?];
        // Who of the two is asked by twelve connections; by chance alone it is one of them every two thousand times.
        let asked = |target: SocketAddr| -> Result<[usize; 2]> {
            let mut counts = [0; 2];
            for _ in 0..12 {
                let _asking = scene.near().netns().enter(|| stream::connect(target))??;
                for (count, listener) in counts.iter_mut().zip(&listeners) {
                    *count += usize::from(listener.has_met()?);
                }
            }
            Ok(counts)
        };
        scene.publish(family, &[service.clone()])?;
        let spread = asked(Scene::cluster(family))?;
        ensure!(spread.iter().all(|count| *count > 0), "{family:?}: {spread:?}");
        service.affinity = true;
        scene.publish(family, &[service])?;
        for target in [Scene::cluster(family), scene.port_of(1, family)] {
            let stays = asked(target)?;
            ensure!(stays.contains(&12), "{family:?} by {target}: {stays:?}");
        }
        scene.must_be_tracked()?;
    }
    Ok(())
}

fn a_service_comes_and_goes_under_a_connection(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    for family in Family::BOTH {
        for backend in Backend::ALL {
            scene.publish(family, &[scene.service(family, Protocol::Tcp, &[backend])?])?;
            let listener = Tcp::listen_at(scene.pod(backend).netns(), scene.endpoint(backend, family)?)?;
            let (near, far, _) = listener.pair(scene.near().netns(), None, Scene::cluster(family))?;
            let talk =
                || stream::one_way_on(&near, &far, 1 << 20).and_then(|_| stream::one_way_on(&far, &near, 1 << 20));
            talk()?;
            // The connection outlives its service, and what comes in its place.
            scene.publish(family, &[])?;
            scene.withdraw()?;
            talk().with_context(|| format!("{family:?} {backend:?}: gone"))?;
            scene.declare()?;
            scene.publish(family, &[scene.service(family, Protocol::Tcp, &[backend])?])?;
            talk().with_context(|| format!("{family:?} {backend:?}: again"))?;
            listener.meet(scene.near().netns(), Scene::cluster(family)).context("a new connection")?;
        }
        scene.must_be_tracked()?;
    }
    Ok(())
}

//! Services by kube-proxy: by their addresses inside the cluster.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weft_tests::apiserver::{PODS, SERVICES};
use weft_tests::cluster::{Cluster, SOON, service};
use weft_tests::fabric::{Layout, Routing};
use weft_tests::in_every_mode;
use weft_tests::node::{Attach, Family};
use weft_tests::proxy::{Backend, Mode, Protocol, Scene};
use weft_tests::traffic::ping::Steady;
use weft_tests::wait;

in_every_mode!(a_pod_asks_a_service, a_node_asks_a_service, a_limited_pod_asks_a_service);

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

fn a_limited_pod_asks_a_service(routing: Routing, mode: Mode) -> Result<()> {
    let scene = Scene::set(routing, mode)?;
    scene.kubernetes().server().edit(PODS, "shop", "near", |pod| {
        pod["metadata"]["annotations"] =
            json!({ "kubernetes.io/egress-bandwidth": "200M", "kubernetes.io/ingress-bandwidth": "200M" });
    })?;
    let of_near = |entry: &serde_json::Value| entry["key"]["containerId"] == *scene.near().attachment().container_id;
    wait::until("the pod is limited", SOON, || {
        let list = scene.kubernetes().member(1).weft(&["endpoint", "list"])?;
        let near = list.as_array().into_iter().flatten().find(|entry| of_near(entry)).context("the endpoint")?;
        Ok(near["endpoint"]["bandwidth"]["egress"]["rate"] == 200_000_000)
    })?;
    for family in Family::BOTH {
        for backend in Backend::ALL {
            let wrong = || format!("{family:?} to {backend:?}");
            scene.publish(family, &[scene.service(family, Protocol::Tcp, &[backend])?])?;
            let target = Scene::cluster(family);
            scene.talk(Protocol::Tcp, backend, scene.near().netns(), target).with_context(wrong)?;
            scene.must_be_tracked().with_context(wrong)?;
        }
    }
    Ok(())
}

#[test]
fn a_thousand_services_at_once_are_known_and_forgotten() -> Result<()> {
    const MANY: u16 = 1000;
    let cluster = Cluster::start(Layout::new(Routing::Overlay, Attach::preferred()).nodes(2))?;
    let pods = [cluster.pod(cluster.member(1), "shop", "web")?, cluster.pod(cluster.member(2), "shop", "db")?];
    let steady = Steady::start(pods[0].netns(), pods[1].address(Family::V6)?, Duration::from_millis(2))?;
    let name = |number: u16| format!("svc-{number}");
    let known = |count: usize| {
        wait::until("all services are known", wait::patience(Duration::from_secs(15)), || {
            let mut counts = cluster.fabric().members().iter().map(|member| {
                let dump = member.weft(&["map", "dump", "peers"])?;
                let entries = dump.as_array().context("no list of entries")?;
                let is_stack = |entry: &&serde_json::Value| entry["flags"][0] == "stack";
                Ok(entries.iter().filter(is_stack).count())
            });
            counts.try_fold(true, |all, found: Result<usize>| Ok(all && found? == count))
        })
    };
    known(1)?;
    let made = (1..=MANY).map(|number| {
        let [high, low] = number.to_be_bytes();
        service("many", &name(number), &[&format!("10.97.{high}.{low}"), &format!("fd00:10:96::1:{number:x}")])
    });
    cluster.server().put_all(made)?;
    known(1 + 2 * usize::from(MANY))?;
    for number in 1..=MANY {
        cluster.server().remove(SERVICES, "many", &name(number))?;
    }
    known(1)?;
    let report = steady.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    Ok(())
}

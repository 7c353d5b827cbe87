//! Names of services.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use weft_agent::connectivity::{Answer, Question, Resolve, Transport};

use super::passed;
use crate::e2e::cluster::{Dns, is_ready};
use crate::e2e::manifest::{Kind, PodPlan, ServicePlan};
use crate::e2e::pods::{lacks_image, state};
use crate::e2e::report::Verdict;
use crate::e2e::stage::{Cast, Stage};
use crate::e2e::until;

/// For how long a new name may be unknown: servers keep what they did not find for a while.
const PATIENCE_MS: u64 = 40_000;

/// How long the clients may take.
const ASKING: Duration = Duration::from_secs(90);

/// How long servers of names may take to be ready.
const SERVERS: Duration = Duration::from_secs(90);

/// Waits for a server of names; why there will be none for reasons that are not the network's.
async fn absent(stage: &Stage, servers: &Dns) -> Result<Option<String>> {
    let pods: Api<Pod> = Api::namespaced(stage.cluster().client.clone(), &servers.namespace);
    let which = ListParams::default().labels(&servers.selector);
    until("a pod of the service for names is ready", SERVERS, async || {
        let all = pods.list(&which).await.context("list pods")?.items;
        if all.iter().any(is_ready) {
            return Ok(Ok(None));
        }
        let images = all.iter().filter_map(lacks_image).collect::<Vec<_>>();
        Ok(match (all.len(), images.len()) {
            (0, _) => Ok(Some(format!("the service for names in {} has no pods", servers.namespace))),
            (pods, same) if pods == same => Ok(Some(format!("the servers of names have no image: {}", images[0]))),
            _ => {
                Err(all.iter().map(|pod| format!("{}: {}", pod.name_any(), state(pod))).collect::<Vec<_>>().join("; "))
            }
        })
    })
    .await
}

pub(super) async fn dns(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let Some(servers) = &stage.cluster().dns else {
        return Ok(Verdict::NotApplicable("no service with the label k8s-app=kube-dns".to_owned()));
    };
    if let Some(why) = absent(stage, servers).await? {
        return Ok(Verdict::NotApplicable(why));
    }
    let named =
        stage.service(&ServicePlan { name: "named", label: ("server", "a1"), ..ServicePlan::default() }).await?;
    let plan =
        ServicePlan { name: "headless", label: ("group", "web"), kind: Kind::Headless, ..ServicePlan::default() };
    stage.service(&plan).await?;
    let web = cast.pods.iter().filter(|server| server.name != "a2");
    let pods: Vec<_> = web.flat_map(|server| server.addresses.clone()).collect();
    let (mut questions, mut wanted) = (Vec::new(), Vec::new());
    for (name, addresses) in [("named", &named.addresses), ("headless", &pods)] {
        for ipv6 in [false, true].into_iter().filter(|ipv6| addresses.iter().any(|one| one.is_ipv6() == *ipv6)) {
            for over in [Transport::Udp, Transport::Tcp] {
                let name = format!("{name}.{}.svc", stage.namespace());
                questions.push(Question::Resolve(Resolve { name: name.clone(), over, ipv6, patience_ms: PATIENCE_MS }));
                let mut addresses: Vec<_> = addresses.iter().copied().filter(|one| one.is_ipv6() == ipv6).collect();
                addresses.sort_unstable();
                wanted.push((format!("{name} over {}", over.name()), addresses));
            }
        }
    }
    for at in 0..stage.places().len() {
        let place = &stage.places()[at];
        let plan = PodPlan::client(&stage.name("names"), place, questions.clone());
        let told = stage.tell(&plan, ASKING).await?;
        for ((what, addresses), answer) in wanted.iter().zip(told.answers) {
            let got = match answer {
                Answer::Resolve(mut got) => {
                    got.sort_unstable();
                    Ok(got)
                }
                other => Err(other),
            };
            ensure!(got.as_ref() == Ok(addresses), "pod on {} -> {what}: {got:?}, not {addresses:?}", place.name);
        }
    }
    Ok(passed(format!("{} answers", wanted.len() * stage.places().len())))
}

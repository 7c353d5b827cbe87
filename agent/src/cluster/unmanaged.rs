//! Pods that another plugin has started: they are left alone, and told of, and nobody else gets their addresses.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use weft_cni::api::UnmanagedPod;

use crate::endpoint::{Endpoints, Record};
use crate::k8s::{Phase, Pods};
use crate::kernel::Kernel;

/// How often it is looked at without news, as records come and go too.
const ROUND: Duration = Duration::from_secs(30);

/// Keeps their addresses from new pods for as long as somebody tells of them. Another plugin may have taken them out of
/// the same ranges, which are the node's.
pub(crate) async fn spare_unmanaged<K: Kernel>(endpoints: Rc<Endpoints<K>>, mut pods: watch::Receiver<Arc<Pods>>) {
    loop {
        let list = Arc::clone(&pods.borrow_and_update());
        let theirs = unmanaged(&list, &endpoints.records());
        endpoints.spare(theirs.into_iter().flat_map(|pod| pod.addresses).collect());
        tokio::select! {
            news = pods.changed() => if news.is_err() { return },
            () = sleep(ROUND) => {}
        }
    }
}

/// Running pods with a network of their own that no record tells of.
pub(super) fn unmanaged(pods: &Pods, records: &[Record]) -> Vec<UnmanagedPod> {
    let theirs = pods.by_name.iter().filter(|(name, pod)| {
        let known = |record: &Record| {
            let named = record.pod.as_ref();
            named.is_some_and(|named| *named.namespace == *name.namespace && *named.name == *name.name)
                || pod.addresses.iter().any(|address| record.holds(*address))
        };
        let lives = pod.phase == Phase::Running && !pod.host_network && !pod.deleting && !pod.addresses.is_empty();
        lives && !records.iter().any(known)
    });
    theirs
        .map(|(name, pod)| UnmanagedPod {
            namespace: name.namespace.to_string(),
            name: name.name.to_string(),
            addresses: pod.addresses.to_vec(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use weft_cni::api::{AttachmentKey, Origin, PodRef};

    use crate::k8s::{Pod, PodName};

    use super::*;

    fn pod(address: &str) -> Pod {
        Pod {
            uid: "u".into(),
            bandwidth: Ok(None),
            host_network: false,
            addresses: [address.parse().unwrap()].into(),
            phase: Phase::Running,
            deleting: false,
        }
    }

    fn record(name: Option<&str>, address: &str) -> Record {
        Record {
            id: 1,
            key: AttachmentKey { container_id: "c".into(), ifname: "eth0".into() },
            network: "weft".into(),
            netns: "/run/netns/c".into(),
            origin: Origin::Created,
            pod: name.map(|name| PodRef { namespace: "ns".into(), name: name.into(), uid: None }),
            leased: vec![address.parse().unwrap()],
            endpoint: None,
            boot: "b".into(),
            created_ns: 1,
        }
    }

    #[test]
    fn those_that_run_and_nobody_knows() {
        let list = [
            ("theirs", pod("10.9.0.2")),
            ("by-address", pod("10.1.0.2")),
            ("by-name", pod("10.1.0.99")),
            ("host", Pod { host_network: true, ..pod("192.0.2.1") }),
            ("over", Pod { phase: Phase::Over, ..pod("10.9.0.3") }),
            ("leaving", Pod { deleting: true, ..pod("10.9.0.4") }),
            ("pending", Pod { phase: Phase::Pending, ..pod("10.9.0.5") }),
            ("no-address", Pod { addresses: Box::default(), ..pod("10.9.0.6") }),
        ];
        let named = |(name, pod): (&str, Pod)| (PodName { namespace: "ns".into(), name: name.into() }, pod);
        let pods = Pods { by_name: list.into_iter().map(named).collect() };
        let records = [record(None, "10.1.0.2"), record(Some("by-name"), "10.1.0.3")];
        let found = unmanaged(&pods, &records);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].name.as_str(), found[0].addresses[0].to_string().as_str()), ("theirs", "10.9.0.2"));
    }
}

//! Limits that follow the bandwidth annotations of pods.
//!
//! A runtime passes them on once, when it starts the pod; here they count whenever they change. A pod that is seen for
//! the first time gets what its annotations say. One without any keeps what it has then: its runtime or an operator
//! may have set that by other means.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use weft_cni::api::Bandwidth;

use crate::endpoint::{Endpoints, Record};
use crate::k8s::{Pod, PodName, Pods};
use crate::kernel::Kernel;
use crate::text;

use super::Troubles;

/// How often it is looked at without news: for a pod that was on the list before it was joined, and for what failed.
const ROUND: Duration = Duration::from_secs(30);

/// What a pod's annotations said when they last took effect.
#[derive(Debug)]
struct Applied {
    uid: Box<str>,
    bandwidth: Option<Bandwidth>,
}

/// Follows the annotations for as long as somebody tells of them.
pub(crate) async fn follow_limits<K: Kernel>(
    endpoints: Rc<Endpoints<K>>,
    mut pods: watch::Receiver<Arc<Pods>>,
    troubles: Rc<Troubles>,
) {
    let mut applied = BTreeMap::new();
    loop {
        let list = Arc::clone(&pods.borrow_and_update());
        round(&endpoints, &list, &mut applied, &troubles).await;
        tokio::select! {
            news = pods.changed() => if news.is_err() { return },
            () = sleep(ROUND) => {}
        }
    }
}

async fn round<K: Kernel>(
    endpoints: &Endpoints<K>,
    pods: &Pods,
    applied: &mut BTreeMap<PodName, Applied>,
    troubles: &Troubles,
) {
    applied.retain(|name, applied| pods.by_name.get(name).is_some_and(|pod| pod.uid == applied.uid));
    troubles.limits.borrow_mut().retain(|name, _| pods.by_name.contains_key(name));
    let records = endpoints.records();
    for (name, pod) in pods.by_name.iter().filter(|(_, pod)| !pod.host_network) {
        let trouble = match &pod.bandwidth {
            Ok(bandwidth) => {
                let of_pod: Vec<_> = records.iter().filter(|record| is_of(record, name, pod)).collect();
                apply(endpoints, &of_pod, pod, *bandwidth, applied, name).await
            }
            Err(why) => Some(why.clone()),
        };
        let sentence = trouble.map(|why| format!("pod {}/{}: {why}; its limits stay", name.namespace, name.name));
        let mut told = troubles.limits.borrow_mut();
        if let Some(new) = sentence.as_ref().filter(|new| told.get(name) != Some(new)) {
            log::warn!("{new}");
        }
        match sentence {
            Some(sentence) => drop(told.insert(name.clone(), sentence)),
            None => drop(told.remove(name)),
        }
    }
}

/// Brings the pod's attachments to what its annotations say now, if they say anything new; what failed.
async fn apply<K: Kernel>(
    endpoints: &Endpoints<K>,
    records: &[&Record],
    pod: &Pod,
    bandwidth: Option<Bandwidth>,
    applied: &mut BTreeMap<PodName, Applied>,
    name: &PodName,
) -> Option<String> {
    let before = applied.get(name).map(|applied| applied.bandwidth);
    if records.is_empty() || before == Some(bandwidth) {
        return None;
    }
    let wanted = if before.is_none() { bandwidth } else { Some(bandwidth.unwrap_or_default()) };
    for record in records {
        let has = record.endpoint.as_ref().map(|spec| spec.bandwidth);
        if let Some(wanted) = wanted.filter(|wanted| has != Some(*wanted))
            && let Err(error) = endpoints.set_bandwidth(&record.key, wanted).await
        {
            return Some(text::chain(&error));
        }
    }
    applied.insert(name.clone(), Applied { uid: pod.uid.clone(), bandwidth });
    None
}

/// Whether it is a joined attachment of the pod, and not of an older one with its name.
fn is_of(record: &Record, name: &PodName, pod: &Pod) -> bool {
    let named = record.pod.as_ref();
    let same_uid = |uid: &Option<String>| uid.as_ref().is_none_or(|uid| **uid == *pod.uid);
    record.endpoint.is_some()
        && named.is_some_and(|named| {
            *named.namespace == *name.namespace && *named.name == *name.name && same_uid(&named.uid)
        })
}

#[cfg(test)]
mod tests;

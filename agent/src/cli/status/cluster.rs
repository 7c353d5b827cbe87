//! What `weft status` tells of the cluster, and of who translates services.

use comfy_table::Table;
use weft_cni::api::{KubernetesStatus, Status, UnmanagedPod};

use crate::cli::output::{join, seconds};

/// Unmanaged pods that are named; the others are counted.
const NAMED: usize = 10;

pub(super) fn rows(table: &mut Table, status: &Status) {
    if let Some(kubernetes) = &status.kubernetes {
        table.add_row(["Kubernetes", &connection(kubernetes)]);
        let KubernetesStatus { nodes, services, pods, .. } = kubernetes;
        table.add_row(["Cluster", &format!("{nodes} nodes, {services} services, {pods} pods on this node")]);
        table.add_row(["Conflist", kubernetes.conflist.as_deref().unwrap_or("not written yet")]);
        if !kubernetes.unmanaged.is_empty() {
            table.add_row(["Unmanaged", &unmanaged(&kubernetes.unmanaged)]);
        }
    }
    if let Some(proxy) = &status.proxy {
        let who = if proxy.mode == "none" { "nobody".to_owned() } else { format!("kube-proxy, {}", proxy.mode) };
        table.add_row(["Services", &format!("translated by {who} ({})", proxy.evidence)]);
    }
}

fn connection(kubernetes: &KubernetesStatus) -> String {
    let KubernetesStatus { api_server, connected, since_ms, .. } = kubernetes;
    let state = if *connected { "connected" } else { "not connected" };
    format!("{api_server}, {state} for {}", seconds(since_ms / 1000))
}

/// Pods of another plugin, by name.
fn unmanaged(pods: &[UnmanagedPod]) -> String {
    let one = |pod: &UnmanagedPod| format!("{}/{} ({})", pod.namespace, pod.name, join(&pod.addresses));
    let mut names: Vec<_> = pods.iter().take(NAMED).map(one).collect();
    if pods.len() > NAMED {
        names.push(format!("and {} more", pods.len() - NAMED));
    }
    format!("{}; another plugin started them", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_unmanaged_pods_take_one_line() {
        let pod = |number: usize| UnmanagedPod {
            namespace: "ns".into(),
            name: format!("p{number}"),
            addresses: vec!["10.9.0.2".parse().unwrap()],
        };
        let few: Vec<_> = (0..2).map(pod).collect();
        assert_eq!(unmanaged(&few), "ns/p0 (10.9.0.2), ns/p1 (10.9.0.2); another plugin started them");
        let many: Vec<_> = (0..13).map(pod).collect();
        assert!(unmanaged(&many).contains("ns/p9 (10.9.0.2), and 3 more;"));
    }

    #[test]
    fn a_connection_says_for_how_long() {
        let status = KubernetesStatus {
            api_server: "https://192.0.2.1:6443".into(),
            connected: false,
            since_ms: 61_000,
            ..KubernetesStatus::default()
        };
        let told = connection(&status);
        assert!(told.starts_with("https://192.0.2.1:6443, not connected for "), "{told}");
    }
}

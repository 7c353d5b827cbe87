//! Node objects as large as real ones: some 20 KB, most of it images, labels, and who wrote what.

use serde_json::{Map, Value, json};

use super::node;

/// A node of a large cluster; its number gives name, ranges and addresses. Below 65,536.
///
/// Its ranges are in `10.128.0.0/9` and `fd00:f::/32`, its addresses in `172.16.0.0/12` and `2001:db8:f::/48`.
pub fn large_node(number: u16) -> Value {
    let [high, low] = number.to_be_bytes();
    let name = format!("worker-{number:05}.eu-central-1.compute.example.internal");
    let cidrs = [format!("10.{}.{low}.0/24", 128 + u16::from(high)), format!("fd00:f:{number:x}::/64")];
    let v4 = [172, 16 + (high >> 4), (high & 15) * 16 + (low >> 4), 16 + (low & 15)].into();
    let v6 = [0x2001, 0xdb8, 0xf, 0, 0, 0, 0, number].into();
    let mut object = node(&name, &cidrs, &[v4, v6]);
    object["metadata"]["labels"] = labels(&name);
    object["metadata"]["annotations"] = annotations(number);
    object["metadata"]["managedFields"] = (0..6).map(managed).collect();
    object["spec"]["providerID"] = format!("example:///eu-central-1a/i-0{number:016x}").into();
    object["status"]["images"] = (0..50).map(image).collect();
    object["status"]["conditions"] = conditions(0);
    object["status"]["nodeInfo"] = json!({
        "architecture": "amd64", "bootID": format!("8d5c1d3e-0000-4000-8000-{number:012x}"), "kernelVersion": "6.12.30",
        "containerRuntimeVersion": "containerd://2.1.1", "kubeletVersion": "v1.36.0", "kubeProxyVersion": "v1.36.0",
        "machineID": format!("{number:032x}"), "systemUUID": format!("ec2f0000-0000-4000-8000-{number:012x}"),
        "operatingSystem": "linux", "osImage": "Debian GNU/Linux 13 (trixie)",
    });
    for kind in ["allocatable", "capacity"] {
        object["status"][kind] = json!({
            "cpu": "64", "memory": "263719648Ki", "pods": "110", "ephemeral-storage": "524275Mi", "hugepages-1Gi": "0",
            "hugepages-2Mi": "0", "example.com/gpu": "8",
        });
    }
    object
}

/// What a heartbeat of the kubelet changes: the time at its conditions.
pub(crate) fn conditions(second: u32) -> Value {
    let time = format!("2026-01-02T{:02}:{:02}:{:02}Z", second / 3600 % 24, second / 60 % 60, second % 60);
    let kinds = ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable", "Ready"];
    let one = |kind: &&str| {
        json!({
            "type": kind, "status": if *kind == "Ready" { "True" } else { "False" }, "reason": "KubeletIsFine",
            "message": "kubelet has no complaint about this condition of the node", "lastHeartbeatTime": time,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    kinds.iter().map(one).collect()
}

fn labels(name: &str) -> Value {
    let mut labels: Map<String, Value> = (0..25)
        .map(|number| (format!("node.example.com/feature-{number}"), format!("value-{number}").into()))
        .collect();
    labels.insert("kubernetes.io/hostname".into(), name.into());
    labels.insert("topology.kubernetes.io/zone".into(), "eu-central-1a".into());
    labels.into()
}

fn annotations(number: u16) -> Value {
    json!({
        "node.alpha.kubernetes.io/ttl": "300", "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        "csi.volume.kubernetes.io/nodeid": format!("{{\"ebs.csi.example.com\":\"i-0{number:016x}\"}}"),
    })
}

fn image(number: usize) -> Value {
    let name = format!("registry.example.com/platform/team-{number}/service-with-a-name-{number}");
    json!({
        "names": [format!("{name}@sha256:{:064x}", number * 7919), format!("{name}:v1.{number}.0")],
        "sizeBytes": 100_000_000 + number,
    })
}

fn managed(number: usize) -> Value {
    let fields: Map<String, Value> =
        (0..25).map(|field| (format!("f:node.example.com/feature-{field}"), json!({}))).collect();
    json!({
        "manager": format!("controller-{number}"), "operation": "Update", "apiVersion": "v1",
        "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
        "fieldsV1": { "f:metadata": { "f:labels": fields } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_large_as_real_ones() {
        let size = large_node(4711).to_string().len();
        assert!((18_000..23_000).contains(&size), "{size} bytes");
    }
}

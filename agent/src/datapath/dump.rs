//! The maps' content as people write it.

use std::net::IpAddr;

use serde_json::{Value, json};
use weft_abi::{Addr, Counter, Direction, Pod, PodFlags, Reason};
use weft_cni::api::VerdictCount;
use weft_cni::mac::Mac;

/// The flags of a pod, by name.
const FLAGS: [(u32, &str); 1] = [(PodFlags::ADOPTED, "adopted")];

/// An entry of `pods`.
pub(super) fn pod(addr: Addr, pod: &Pod) -> Value {
    json!({
        "address": IpAddr::from(addr),
        "ifindex": pod.ifindex,
        "endpointId": pod.endpoint_id,
        "podMac": Mac(pod.pod_mac),
        "hostMac": Mac(pod.host_mac),
        "flags": flags(pod.flags),
    })
}

/// An entry of `counters`, summed over the CPUs.
pub(super) fn counter(reason: Reason, direction: Direction, counter: Counter) -> VerdictCount {
    VerdictCount {
        reason: reason.name().to_owned(),
        direction: direction.name().to_owned(),
        drop: reason.is_drop(),
        packets: counter.packets,
        bytes: counter.bytes,
    }
}

fn flags(bits: u32) -> Vec<String> {
    let known = FLAGS.iter().filter(|(flag, _)| bits & flag != 0).map(|(_, name)| (*name).to_owned());
    let unknown = FLAGS.iter().fold(bits, |bits, (flag, _)| bits & !flag);
    known.chain((unknown != 0).then(|| format!("{unknown:#x}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_written_as_people_do() {
        let addr = Addr::from(IpAddr::from([10, 244, 0, 7]));
        let value =
            Pod { ifindex: 9, flags: 5, endpoint_id: 3, pod_mac: [2, 0, 0, 0, 0, 1], host_mac: [2, 0, 0, 0, 0, 2] };
        assert_eq!(
            pod(addr, &value),
            json!({
                "address": "10.244.0.7", "ifindex": 9, "endpointId": 3, "podMac": "02:00:00:00:00:01",
                "hostMac": "02:00:00:00:00:02", "flags": ["adopted", "0x4"],
            })
        );
    }
}

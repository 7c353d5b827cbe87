//! `pods`: what an endpoint has there.

use weft_abi::{Addr, PODS_MAX, Pod, PodFlags, map};
use weft_cni::api::Origin;

use super::DatapathError;
use super::maps::{Maps, full_or, of};
use super::plain::Put;
use super::rates;
use crate::endpoint::Endpoint;

/// Flags that the programs set: none of the endpoint's.
const PROGRAMS: u32 = PodFlags::VIA_STACK;

impl Maps {
    /// Writes the endpoint's entries; on failure those that were not there before go again.
    pub(super) fn write_pod(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let mut new = Vec::new();
        for (addr, value) in entries_of(endpoint) {
            let before = self.pods.get(&addr).map_err(of("look-up", map::PODS))?;
            if before.is_some_and(|before| same(&before, &value)) {
                continue;
            }
            // The flags of a pod that had the address before are none of this one's.
            let kept = before.filter(|before| before.endpoint_id == value.endpoint_id);
            let kept = kept.map_or(0, |before| before.flags & PROGRAMS);
            let value = Pod { flags: value.flags | kept, ..value };
            if let Err(failed) = self.pods.put(&addr, &value, Put::Any) {
                self.pods.delete_all(&new).map_err(of("delete", map::PODS))?;
                return Err(full_or(map::PODS, PODS_MAX)(failed));
            }
            if before.is_none() {
                new.push(addr);
            }
        }
        Ok(())
    }

    /// Removes the endpoint's entries; those that are another endpoint's by now stay.
    pub(super) fn erase_pod(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        for (addr, _) in entries_of(endpoint) {
            let found = self.pods.get(&addr).map_err(of("look-up", map::PODS))?;
            if found.is_some_and(|pod| pod.endpoint_id == endpoint.id) {
                self.pods.delete(&addr).map_err(of("delete", map::PODS))?;
            }
        }
        Ok(())
    }

    /// Compares the entries with the endpoint.
    pub(super) fn verify_pod(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        for (addr, value) in entries_of(endpoint) {
            match self.pods.get(&addr).map_err(of("look-up", map::PODS))? {
                Some(pod) if same(&pod, &value) => {}
                Some(_) => return Err(DatapathError::OtherEntry { address: addr.into() }),
                None => return Err(DatapathError::NoEntry { address: addr.into() }),
            }
        }
        Ok(())
    }

    /// Removes the entries for which `keep` is false; how many.
    pub(super) fn retain_pods(&self, keep: impl Fn(&Addr, &Pod) -> bool) -> Result<usize, DatapathError> {
        let all = self.all_pods()?.into_iter();
        let stale: Vec<_> = all.filter(|(addr, pod)| !keep(addr, pod)).map(|(addr, _)| addr).collect();
        self.pods.delete_all(&stale).map_err(of("delete", map::PODS))?;
        Ok(stale.len())
    }

    /// Every pod.
    pub(super) fn all_pods(&self) -> Result<Vec<(Addr, Pod)>, DatapathError> {
        self.pods.all().map_err(of("iterate", map::PODS))
    }
}

/// The entries of an endpoint: one an address, and for an adopted one that of its link.
pub(super) fn entries_of(endpoint: &Endpoint) -> impl Iterator<Item = (Addr, Pod)> {
    let spec = &endpoint.spec;
    let adopted = endpoint.origin == Origin::Adopted;
    let pod = Pod {
        ifindex: spec.host_ifindex,
        flags: flags_of(endpoint),
        endpoint_id: endpoint.id,
        pod_mac: spec.pod_mac.0,
        host_mac: spec.host_mac.0,
    };
    let link = adopted.then(|| (Addr::of_link(spec.host_ifindex), pod.of_link()));
    spec.addresses.iter().map(move |address| (Addr::from(*address), pod)).chain(link)
}

fn flags_of(endpoint: &Endpoint) -> u32 {
    let adopted = if endpoint.origin == Origin::Adopted { PodFlags::ADOPTED } else { 0 };
    let ports = if endpoint.spec.ports.is_empty() { 0 } else { PodFlags::PORTS };
    adopted | ports | rates::flags(endpoint.spec.bandwidth)
}

/// Whether both are the same to the agent.
fn same(found: &Pod, wanted: &Pod) -> bool {
    Pod { flags: found.flags & !PROGRAMS, ..*found } == *wanted
}

#[cfg(test)]
mod tests {
    use weft_cni::api::{Bandwidth, EndpointSpec};
    use weft_cni::mac::Mac;

    use super::*;

    fn endpoint(origin: Origin) -> Endpoint {
        let spec = EndpointSpec {
            host_ifname: "weft00000000001".into(),
            host_ifindex: 9,
            host_mac: Mac([2, 0, 0, 0, 0, 2]),
            pod_mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: vec!["10.244.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
            mtu: 1500,
            ports: Vec::new(),
            bandwidth: Bandwidth::default(),
        };
        Endpoint { id: 3, origin, spec }
    }

    #[test]
    fn an_endpoint_has_an_entry_for_each_address() {
        let entries: Vec<_> = entries_of(&endpoint(Origin::Created)).collect();
        assert_eq!(entries.len(), 2);
        assert!(entries[0].0.is_v4() && !entries[1].0.is_v4());
        assert_eq!((entries[0].1.ifindex, entries[0].1.endpoint_id, entries[0].1.flags), (9, 3, 0));
        assert_eq!(entries[0].1, entries[1].1);
    }

    #[test]
    fn an_adopted_endpoint_has_one_more_for_its_link() {
        let (addr, pod) = entries_of(&endpoint(Origin::Adopted)).last().unwrap();
        assert_eq!(addr, Addr::of_link(9));
        assert_eq!((pod.ifindex, pod.endpoint_id, pod.flags), (0, 3, PodFlags::ADOPTED));
    }

    #[test]
    fn what_the_programs_note_is_no_difference() {
        let (_, wanted) = entries_of(&endpoint(Origin::Adopted)).next().unwrap();
        let noted = Pod { flags: wanted.flags | PodFlags::VIA_STACK, ..wanted };
        assert!(same(&wanted, &wanted) && same(&noted, &wanted));
        assert!(!same(&Pod { flags: PodFlags::VIA_STACK, ..wanted }, &wanted));
    }
}

//! `weft endpoint`.

use weft_cni::api::{EndpointInfo, Origin, PodRef, Stage};
use weft_cni::client::Client;

use super::error::CliError;
use super::get as ask;
use super::output::{Output, join};
use super::rate;

pub(super) fn list(client: &mut Client, output: &Output) -> Result<(), CliError> {
    let endpoints: Vec<EndpointInfo> = ask(client, "/v1/endpoints")?;
    if output.is_json() {
        return Ok(Output::json(&endpoints)?);
    }
    let headings = ["ID", "STAGE", "POD", "CONTAINER", "INTERFACE", "ADDRESSES", "HOST INTERFACE", "INGRESS", "EGRESS"];
    let mut table = output.new_table(&headings);
    for endpoint in &endpoints {
        let limits = endpoint.endpoint.as_ref().map(|spec| spec.bandwidth).unwrap_or_default();
        let came = endpoint.limits.unwrap_or_default();
        table.add_row(vec![
            endpoint.id.into(),
            Output::mark(stage(endpoint.stage), endpoint.stage == Stage::Ready),
            endpoint.pod.as_ref().map_or("-".to_owned(), pod_name).into(),
            short(&endpoint.key.container_id).into(),
            (&endpoint.key.ifname).into(),
            join(&endpoint.addresses).into(),
            endpoint.endpoint.as_ref().map_or("-", |spec| &spec.host_ifname).into(),
            rate::brief(limits.ingress, came.ingress).into(),
            rate::brief(limits.egress, came.egress).into(),
        ]);
    }
    Ok(Output::table(table)?)
}

pub(super) fn get(client: &mut Client, output: &Output, name: &str) -> Result<(), CliError> {
    let endpoints: Vec<EndpointInfo> = ask(client, "/v1/endpoints")?;
    let endpoint = find(&endpoints, name)?;
    if output.is_json() {
        return Ok(Output::json(endpoint)?);
    }
    let mut table = output.new_table(&[]);
    let origin = match endpoint.origin {
        Origin::Created => "created",
        Origin::Adopted => "adopted",
    };
    let mut rows = vec![
        ("ID", endpoint.id.to_string()),
        ("Stage", stage(endpoint.stage).to_owned()),
        ("Pod", endpoint.pod.as_ref().map_or("-".to_owned(), pod_name)),
        ("Container", endpoint.key.container_id.clone()),
        ("Interface", endpoint.key.ifname.clone()),
        ("Network", endpoint.network.clone()),
        ("Namespace", endpoint.netns.clone()),
        ("Addresses", join(&endpoint.addresses)),
        ("Origin", origin.to_owned()),
    ];
    if let Some(spec) = &endpoint.endpoint {
        rows.extend([
            ("MAC", spec.pod_mac.to_string()),
            ("Host interface", format!("{} (index {})", spec.host_ifname, spec.host_ifindex)),
            ("Host MAC", spec.host_mac.to_string()),
            ("MTU", spec.mtu.to_string()),
        ]);
        rows.extend(spec.ports.iter().map(|port| ("Port", format!("{port} to {}", port.container_port))));
        rows.extend([("Ingress", rate::limit(spec.bandwidth.ingress)), ("Egress", rate::limit(spec.bandwidth.egress))]);
    }
    if let Some(came) = &endpoint.limits {
        rows.extend(came.ingress.iter().map(|came| ("Ingress so far", rate::counters(came))));
        rows.extend(came.egress.iter().map(|came| ("Egress so far", rate::counters(came))));
    }
    for (name, value) in rows {
        table.add_row([name, &value]);
    }
    Ok(Output::table(table)?)
}

/// The one endpoint of that name. A whole name of any kind wins over the beginning of a container id.
pub(super) fn find<'a>(endpoints: &'a [EndpointInfo], name: &str) -> Result<&'a EndpointInfo, CliError> {
    let mut found: Vec<_> = endpoints.iter().filter(|endpoint| is_called(endpoint, name)).collect();
    if found.is_empty() && name.len() >= 4 {
        found = endpoints.iter().filter(|endpoint| endpoint.key.container_id.starts_with(name)).collect();
    }
    match found.as_slice() {
        [] => Err(CliError::NoEndpoint { name: name.to_owned() }),
        [endpoint] => Ok(endpoint),
        several => {
            let candidates = several.iter().map(|one| format!("{}/{}", one.key.container_id, one.key.ifname));
            Err(CliError::Ambiguous { name: name.to_owned(), candidates: candidates.collect() })
        }
    }
}

fn is_called(endpoint: &EndpointInfo, name: &str) -> bool {
    let key = &endpoint.key;
    name.parse() == Ok(endpoint.id)
        || name.parse().is_ok_and(|addr| endpoint.addresses.contains(&addr))
        || name == key.container_id
        || name.split_once('/').is_some_and(|(container, ifname)| container == key.container_id && ifname == key.ifname)
        || endpoint.pod.as_ref().is_some_and(|pod| name == pod.name || name == pod_name(pod))
}

pub(super) fn pod_name(pod: &PodRef) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// As runtimes' own tools cut it.
pub(super) fn short(container_id: &str) -> &str {
    container_id.get(..13).unwrap_or(container_id)
}

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Leased => "leased",
        Stage::Ready => "ready",
    }
}

#[cfg(test)]
mod tests {
    use weft_cni::api::AttachmentKey;

    use super::*;

    fn endpoint(id: u32, container: &str, ifname: &str, pod: &str, addr: &str) -> EndpointInfo {
        EndpointInfo {
            id,
            key: AttachmentKey { container_id: container.into(), ifname: ifname.into() },
            network: "weft".into(),
            stage: Stage::Ready,
            origin: Origin::Created,
            netns: "/run/netns/x".into(),
            pod: Some(PodRef { namespace: "default".into(), name: pod.into(), uid: None }),
            addresses: vec![addr.parse().unwrap()],
            endpoint: None,
            limits: None,
        }
    }

    #[test]
    fn endpoints_are_found_by_any_of_their_names() {
        let all = [
            endpoint(1, "0123456789abcdef", "eth0", "web", "10.0.0.2"),
            endpoint(2, "0123456789abcdef", "net1", "web", "10.0.0.3"),
            endpoint(3, "fedc", "eth0", "db", "fd00::2"),
            endpoint(10, "fedcba", "eth0", "10", "10.0.0.4"),
        ];
        for (name, id) in [
            ("2", 2),
            ("10.0.0.2", 1),
            ("fd00:0::2", 3),
            ("default/db", 3),
            ("db", 3),
            ("0123456789abcdef/net1", 2),
            ("fedc", 3),
            ("fedcb", 10),
            ("10", 10),
        ] {
            assert_eq!(find(&all, name).unwrap().id, id, "{name}");
        }
        assert!(matches!(find(&all, "nobody"), Err(CliError::NoEndpoint { .. })));
        for name in ["web", "0123456789abcdef", "01234"] {
            let error = find(&all, name).unwrap_err().to_string();
            assert!(error.contains("0123456789abcdef/eth0, 0123456789abcdef/net1"), "{error}");
        }
    }
}

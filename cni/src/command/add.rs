//! ADD: joins a pod to the network.

use std::time::Instant;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::api::{AttachmentKey, EndpointSpec, IpamRequest, Lease, LeaseRequest, Origin};
use crate::client::Client;
use crate::command::failure::Failure;
use crate::command::release::release;
use crate::command::{Call, UNDO_DEADLINE, adopt};
use crate::ipam::Assignment;
use crate::ipam::delegate::Delegate;
use crate::link::inspect::{get_by_index, link_by_name};
use crate::link::netlink::Netlink;
use crate::link::netns::Netns;
use crate::link::pod::{PodSide, wait_until_usable};
use crate::link::veth::{self, Pair, Veth, VethError};
use crate::link::{gateway, host_mac, pod_mac};
use crate::path;
use crate::spec::args::Args;
use crate::spec::conf::Request;
use crate::spec::result::{AddResult, Interface, IpConfig};

/// The smallest MTU that IPv6 works with (RFC 8200, section 5).
const IPV6_MIN_MTU: u32 = 1280;

/// The pod that is to be joined.
struct Pod {
    key: AttachmentKey,
    /// `CNI_NETNS`, verbatim.
    path: String,
    netns: Netns,
    /// A socket inside.
    netlink: Netlink,
}

/// Checks everything, then acts; what was done is undone in reverse when something fails.
pub(super) fn add(call: &Call) -> Result<Value, Failure> {
    let (key, path) = call.environment.sandboxed()?;
    let args = Args::parse(&call.environment.args()?)?;
    let netns = Netns::open(&path)?;
    let prev =
        call.conf.prev_result()?.filter(|prev| !prev.result.interfaces.is_empty() || !prev.result.ips.is_empty());
    if let Some(prev) = prev {
        return adopt::adopt(call, key, &path, &netns, args.pod, prev);
    }
    let request = call.conf.request(args)?;
    let delegate = call.delegate()?;
    let mut netlink = netns.enter(Netlink::open)??;
    if link_by_name(&mut netlink, &key.ifname)?.is_some() {
        return Err(Failure::InterfaceExists { ifname: key.ifname, netns: path });
    }
    let mut client = call.client();
    let lease = client.post("/v1/attachments", &lease_request(call, &key, &path, &request), call.deadline)?;
    let mut pod = Pod { key, path, netns, netlink };
    let joined = join(call, &mut client, &mut pod, request, &lease, delegate.as_ref());
    let result = joined.map_err(|failure| undo(failure, &mut client, &pod.key, delegate.as_ref()))?;
    result.encode(call.conf.version).map_err(Failure::Encode)
}

fn lease_request(call: &Call, key: &AttachmentKey, netns: &str, request: &Request) -> LeaseRequest {
    let ipam = match call.conf.ipam {
        None => IpamRequest::BuiltIn { ips: request.ips.clone(), ranges: request.ranges.clone() },
        Some(_) => IpamRequest::Delegated,
    };
    LeaseRequest {
        key: key.clone(),
        network: call.conf.name.clone(),
        netns: netns.to_owned(),
        origin: Origin::Created,
        ipam,
        pod: request.pod.clone(),
    }
}

fn join(
    call: &Call,
    client: &mut Client,
    pod: &mut Pod,
    request: Request,
    lease: &Lease,
    delegate: Option<&Delegate<'_>>,
) -> Result<AddResult, Failure> {
    let assignment = match delegate {
        None => Assignment::of_lease(&lease.addresses),
        Some(delegate) => Assignment::of_delegate(delegate.add()?),
    };
    if assignment.addresses.is_empty() {
        return Err(Failure::NoAddress);
    }
    let mtu = request.mtu.unwrap_or(lease.mtu);
    if assignment.has_ipv6() && mtu < IPV6_MIN_MTU {
        return Err(Failure::MtuForIpv6(mtu));
    }
    let veth = Veth {
        host_ifname: lease.host_ifname.clone(),
        host_mac: host_mac(&pod.key),
        ifname: pod.key.ifname.clone(),
        pod_mac: request.mac.unwrap_or_else(|| pod_mac(&pod.key)),
        mtu,
        group: lease.link_group,
    };
    let pair = connect(pod, &veth, &assignment)?;
    let endpoint = EndpointSpec {
        host_ifname: veth.host_ifname.clone(),
        host_ifindex: pair.host_ifindex,
        host_mac: veth.host_mac,
        pod_mac: veth.pod_mac,
        addresses: assignment.addresses.iter().map(ipnet::IpNet::addr).collect(),
        mtu,
        ports: request.service.ports,
        bandwidth: request.service.bandwidth,
    };
    client.put::<IgnoredAny>(&path::attachment(&pod.key), &endpoint, call.deadline)?;
    wait_until_usable(&mut pod.netlink, &endpoint.addresses)?;
    let dns = if request.dns.is_empty() { assignment.dns } else { request.dns };
    let ips = assignment.addresses.into_iter().map(|address| IpConfig {
        version: None,
        interface: Some(1),
        address,
        gateway: Some(gateway(address.addr())),
    });
    Ok(AddResult { interfaces: interfaces(veth, &pod.path), ips: ips.collect(), routes: assignment.routes, dns })
}

/// Makes the pair and both its sides.
fn connect(pod: &mut Pod, veth: &Veth, assignment: &Assignment) -> Result<Pair, Failure> {
    let mut node = Netlink::open()?;
    let pair = match veth.create(&mut node, &pod.netns) {
        // The kernel does not say which of the two names it means.
        Err(VethError::Exists) if link_by_name(&mut pod.netlink, &veth.ifname)?.is_some() => {
            return Err(Failure::InterfaceExists { ifname: veth.ifname.clone(), netns: pod.path.clone() });
        }
        Err(VethError::Exists) => {
            return Err(Failure::HostInterfaceExists { host_ifname: veth.host_ifname.clone() });
        }
        other => other.map_err(|source| Failure::Veth { host_ifname: veth.host_ifname.clone(), source })?,
    };
    // The host end first: the pod's has a carrier the moment that it comes up itself.
    veth::bring_up(&mut node, pair.host_ifindex)?;
    let side = PodSide {
        ifindex: pair.pod_ifindex,
        ifname: veth.ifname.clone(),
        addresses: assignment.addresses.clone(),
        routes: assignment.routes.clone(),
        gateway_mac: veth.host_mac,
    };
    side.configure(&mut pod.netlink, &pod.netns)?;
    // Both ends are up: the host end has a carrier now, too.
    node.batch(vec![get_by_index(pair.host_ifindex)])?.complete()?;
    Ok(pair)
}

/// The host end and the pod's: addresses refer to the second.
fn interfaces(veth: Veth, sandbox: &str) -> Vec<Interface> {
    let end = |name, mac: crate::mac::Mac, sandbox: &str| Interface {
        name,
        mac: mac.to_string(),
        mtu: Some(veth.mtu),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    };
    vec![end(veth.host_ifname, veth.host_mac, ""), end(veth.ifname, veth.pod_mac, sandbox)]
}

/// Removes the interface and the lease, then lets the IPAM plugin take its addresses back.
fn undo(failure: Failure, client: &mut Client, key: &AttachmentKey, delegate: Option<&Delegate<'_>>) -> Failure {
    let released = release(client, key, Instant::now() + UNDO_DEADLINE);
    let returned = delegate.map_or(Ok(()), |delegate| delegate.run("DEL").map(|_| ()));
    failure.and(released.err().into_iter().chain(returned.map_err(Failure::from).err()))
}

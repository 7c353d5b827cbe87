//! `weft port`.

use std::net::SocketAddr;

use weft_cni::api::{PodRef, PortInfo};
use weft_cni::client::Client;

use super::endpoint::{pod_name, short};
use super::error::CliError;
use super::get;
use super::output::{Output, join};

pub(super) fn list(client: &mut Client, output: &Output) -> Result<(), CliError> {
    let ports: Vec<PortInfo> = get(client, "/v1/ports")?;
    if output.is_json() {
        return Ok(Output::json(&ports)?);
    }
    let mut table = output.new_table(&["PROTO", "HOST ADDRESS", "PORT", "TO", "POD", "CONTAINER", "ENDPOINT"]);
    for port in &ports {
        table.add_row(row(port));
    }
    Ok(Output::table(table)?)
}

fn row(port: &PortInfo) -> [String; 7] {
    let mapping = &port.mapping;
    let to = port.addresses.iter().map(|address| SocketAddr::new(*address, mapping.container_port));
    [
        mapping.protocol.to_string(),
        mapping.host_ip.map_or("*".to_owned(), |host| host.to_string()),
        mapping.host_port.to_string(),
        join(&to.collect::<Vec<_>>()),
        port.pod.as_ref().map_or("-".to_owned(), |pod: &PodRef| pod_name(pod)),
        short(&port.key.container_id).to_owned(),
        port.endpoint.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use weft_cni::api::{AttachmentKey, PortMapping, PortProtocol};

    use super::*;

    #[test]
    fn a_port_tells_where_it_leads_and_whose_it_is() {
        let mapping = PortMapping { host_ip: None, host_port: 8080, container_port: 80, protocol: PortProtocol::Tcp };
        let port = PortInfo {
            mapping: mapping.clone(),
            endpoint: 7,
            key: AttachmentKey { container_id: "0123456789abcdef".into(), ifname: "eth0".into() },
            pod: Some(PodRef { namespace: "shop".into(), name: "web".into(), uid: None }),
            addresses: vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        };
        let to = "10.0.0.2:80 [fd00::2]:80";
        assert_eq!(row(&port), ["tcp", "*", "8080", to, "shop/web", "0123456789abc", "7"]);
        let host_ip = Some("::1".parse().unwrap());
        let port = PortInfo { mapping: PortMapping { host_ip, ..mapping }, pod: None, ..port };
        assert_eq!((row(&port)[1].as_str(), row(&port)[4].as_str()), ("::1", "-"));
    }
}

//! `weft flow`.

use weft_cni::api::{EndpointInfo, FlowInfo, Flows, Socket};
use weft_cni::client::Client;

use super::args::FlowArgs;
use super::error::CliError;
use super::output::{Output, seconds};
use super::{endpoint, get};

pub(super) fn list(client: &mut Client, output: &Output, args: &FlowArgs) -> Result<(), CliError> {
    let mut query: Vec<String> = Vec::new();
    if let Some(pod) = &args.pod {
        // An address may be a pod's that is gone.
        if pod.parse::<std::net::IpAddr>().is_ok() {
            query.push(format!("pod={pod}"));
        } else {
            let endpoints: Vec<EndpointInfo> = get(client, "/v1/endpoints")?;
            query.push(format!("pod={}", endpoint::find(&endpoints, pod)?.id));
        }
    }
    let ages = [("min-age", args.older_than), ("max-age", args.younger_than)];
    query.extend(ages.iter().filter_map(|(name, age)| age.map(|age| format!("{name}={}", age.0))));
    query.extend(args.state.iter().map(|state| format!("state={}", state.name())));
    query.extend(args.proto.iter().map(|proto| format!("protocol={}", proto.0)));
    query.extend(args.limit.iter().map(|limit| format!("limit={limit}")));
    let flows: Flows = get(client, &format!("/v1/flows?{}", query.join("&")))?;
    if output.is_json() {
        return Ok(Output::json(&flows)?);
    }
    let mut table =
        output.new_table(&["PROTO", "INSIDE", "", "OUTSIDE", "SEEN AS", "STATE", "AGE", "IDLE", "LEFT", "NOTES"]);
    for flow in &flows.flows {
        table.add_row([
            flow.protocol.clone(),
            socket(&flow.inside),
            if flow.inbound { "<-" } else { "->" }.to_owned(),
            socket(&flow.outside),
            flow.translated.as_ref().map_or("-".to_owned(), socket),
            flow.state.clone(),
            seconds(flow.age),
            seconds(flow.idle),
            seconds(flow.expires_in),
            notes(flow),
        ]);
    }
    Output::table(table)?;
    let told = flows.flows.len() as u64;
    if told < flows.matching {
        Output::line(&format!("... and {} more: --limit {} shows them", flows.matching - told, flows.matching))?;
    }
    Ok(())
}

/// As people write it.
pub(super) fn socket(socket: &Socket) -> String {
    match (socket.address, socket.port) {
        (address, None) => address.to_string(),
        (std::net::IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
        (address, Some(port)) => format!("{address}:{port}"),
    }
}

fn notes(flow: &FlowInfo) -> String {
    let notes = [(flow.host, "host"), (flow.via_stack, "via-stack")];
    let notes: Vec<_> = notes.iter().filter(|(is, _)| *is).map(|(_, note)| *note).collect();
    if notes.is_empty() { "-".to_owned() } else { notes.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_written_as_people_do() {
        for (address, port, text) in
            [("10.0.0.2", Some(80), "10.0.0.2:80"), ("fd00::2", Some(80), "[fd00::2]:80"), ("fd00::2", None, "fd00::2")]
        {
            assert_eq!(socket(&Socket { address: address.parse().unwrap(), port }), text);
        }
    }
}

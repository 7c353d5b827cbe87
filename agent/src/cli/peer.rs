//! `weft peer`.

use weft_cni::api::{PeerInfo, PeerWay};
use weft_cni::client::Client;

use super::error::CliError;
use super::get;
use super::output::{Output, join, seconds};

pub(super) fn list(client: &mut Client, output: &Output) -> Result<(), CliError> {
    let peers: Vec<PeerInfo> = get(client, "/v1/peers")?;
    if output.is_json() {
        return Ok(Output::json(&peers)?);
    }
    let mut table = output.new_table(&["NAME", "ADDRESSES", "POD RANGES", "WAY", "END", "SINCE"]);
    for peer in &peers {
        table.add_row(vec![
            (&peer.name).into(),
            join(&peer.addresses).into(),
            join(&peer.pod_cidrs).into(),
            Output::mark(way(peer.way), peer.way != PeerWay::Unreachable),
            peer.end.map_or("-".to_owned(), |end| end.to_string()).into(),
            seconds(peer.age_ms / 1000).into(),
        ]);
    }
    Ok(Output::table(table)?)
}

const fn way(way: PeerWay) -> &'static str {
    match way {
        PeerWay::Overlay => "overlay",
        PeerWay::Direct => "native, direct",
        PeerWay::Network => "native, by the network",
        PeerWay::Unreachable => "none",
    }
}

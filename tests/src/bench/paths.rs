//! From pod to pod on one node, by several paths in turns.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;

use super::chain::Chain;
use super::ends::{Aim, DATAGRAMS, Line, Measure, ROUND_TRIPS, STREAM, compare};
use super::{Bench, Figures, Target};
use crate::exec;
use crate::node::Family;
use crate::pod::{Sandbox, addresses};

/// A path between two namespaces.
#[derive(Debug)]
struct Path {
    label: &'static str,
    client: Sandbox,
    server: Sandbox,
    /// The server's.
    addresses: Vec<IpAddr>,
    /// The node that it leads over, where there is one.
    _chain: Option<Chain>,
}

impl Path {
    /// A veth pair that joins the two namespaces: no node between them.
    fn bare(bench: &Bench) -> Result<Self> {
        let (client, server) = (Sandbox::on(Arc::clone(&bench.site))?, Sandbox::on(Arc::clone(&bench.site))?);
        let far = server.netns.name();
        exec::ip_batch(
            &client.netns,
            &[
                &format!("link add eth0 type veth peer name eth0 netns {far}"),
                "addr add 10.21.0.1/24 dev eth0",
                "addr add fd00:10:21::1/64 dev eth0 nodad",
                "link set eth0 up",
            ],
        )?;
        exec::ip_batch(
            &server.netns,
            &["addr add 10.21.0.2/24 dev eth0", "addr add fd00:10:21::2/64 dev eth0 nodad", "link set eth0 up"],
        )?;
        let addresses = vec![[10, 21, 0, 2].into(), [0xfd00, 0x10, 0x21, 0, 0, 0, 0, 2].into()];
        Ok(Self { label: "bare veth", client, server, addresses, _chain: None })
    }

    /// Two pods of a chain.
    fn through(bench: &Bench, chain: Chain) -> Result<Self> {
        let (client, server) = (Sandbox::on(Arc::clone(&bench.site))?, Sandbox::on(Arc::clone(&bench.site))?);
        let add = |sandbox, number| chain.netns().enter(|| chain.add(sandbox, number))?;
        add(&client, 0)?;
        let addresses = addresses(&add(&server, 1)?.result)?;
        Ok(Self { label: chain.label, client, server, addresses, _chain: Some(chain) })
    }

    /// Its line for this family, if the server has an address of it.
    fn line(&self, family: Family) -> Option<Line<'_>> {
        let address = self.addresses.iter().copied().find(|address| family.has(address))?;
        Some(Line::direct(self.label, &self.client.netns, &self.server.netns, address))
    }
}

/// Each with what weft's ratio to the bare veth is aimed to be.
const MEASURES: [(Measure, Target); 3] =
    [(ROUND_TRIPS, Target::AtMost(1.06)), (STREAM, Target::AtLeast(0.97)), (DATAGRAMS, Target::AtLeast(0.90))];

/// Measures all paths side by side.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let paths = [
        Path::bare(bench)?,
        Path::through(bench, Chain::weft(&bench.site)?)?,
        Path::through(bench, Chain::bridge(&bench.site)?)?,
        Path::through(bench, Chain::ptp(&bench.site)?)?,
    ];
    for ((measure, target), family) in MEASURES.iter().flat_map(|one| Family::BOTH.map(|family| (one, family))) {
        // The reference plugins' pods have an IPv4 address alone.
        let lines: Vec<Line<'_>> = paths.iter().filter_map(|path| path.line(family)).collect();
        let aim = Aim { line: 1, target: *target };
        compare(&lines, measure, family, Some(aim), bench.rounds(1500, 500), figures)?;
    }
    Ok(())
}

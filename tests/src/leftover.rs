//! Entries of a node's tables of flows, kept and put back: what an agent did not get to remove.

use anyhow::{Context, Result};
use aya::maps::{HashMap, Map, MapData};
use weft_abi::{Flow, Nat, Tuple, map};

use crate::node::Node;

type Table<const N: usize> = HashMap<MapData, [u8; size_of::<Tuple>()], [u8; N]>;
type Entries<const N: usize> = Vec<([u8; size_of::<Tuple>()], [u8; N])>;

/// What was in `nat` and `flows`.
#[derive(Debug)]
pub struct Leftover {
    nat: Entries<{ size_of::<Nat>() }>,
    flows: Entries<{ size_of::<Flow>() }>,
}

impl Leftover {
    /// What is in the tables now.
    pub fn of(node: &Node) -> Result<Self> {
        let nat = open(node, map::NAT)?.iter().collect::<Result<_, _>>().context("read nat")?;
        let flows = open(node, map::FLOWS)?.iter().collect::<Result<_, _>>().context("read flows")?;
        Ok(Self { nat, flows })
    }

    /// Writes all of it again.
    pub fn put_back(&self, node: &Node) -> Result<()> {
        let (mut nat, mut flows) = (open(node, map::NAT)?, open(node, map::FLOWS)?);
        for (key, value) in &self.nat {
            nat.insert(key, value, 0).context("write an entry of nat")?;
        }
        for (key, value) in &self.flows {
            flows.insert(key, value, 0).context("write an entry of flows")?;
        }
        Ok(())
    }
}

fn open<const N: usize>(node: &Node, name: &str) -> Result<Table<N>> {
    let data = MapData::from_pin(node.pins().join(name)).with_context(|| format!("open the map {name}"))?;
    Ok(HashMap::try_from(Map::from_map_data(data)?)?)
}

//! The tables of the datapath, as a sweep needs them; tests put others behind it.

use weft_abi::{Addr, Flow, Nat, Pod, Tuple};

use crate::datapath::{Datapath, DatapathError};

/// The tables of flows and what belongs to them.
pub(crate) trait Tables {
    /// Room in each of `flows` and `nat`.
    fn room(&self) -> u32;
    /// Every local pod.
    fn pods(&self) -> Result<Vec<(Addr, Pod)>, DatapathError>;
    /// Whether the address is a local pod's, as of now.
    fn has_pod(&self, addr: &Addr) -> Result<bool, DatapathError>;
    /// Addresses that flows may be translated to: those of the node.
    fn addresses(&self) -> Result<Vec<Addr>, DatapathError>;
    /// Shows every flow, many at a time.
    fn visit_flows(&self, show: impl FnMut(&[Tuple], &[Flow])) -> Result<(), DatapathError>;
    /// Shows every translation, many at a time.
    fn visit_nat(&self, show: impl FnMut(&[Tuple], &[Nat])) -> Result<(), DatapathError>;
    /// One flow, as it is now.
    fn flow(&self, key: &Tuple) -> Result<Option<Flow>, DatapathError>;
    /// One translation, as it is now.
    fn nat(&self, key: &Tuple) -> Result<Option<Nat>, DatapathError>;
    /// Removes a flow; whether it was there.
    fn remove_flow(&self, key: &Tuple) -> Result<bool, DatapathError>;
    /// Removes a translation; whether it was there.
    fn remove_nat(&self, key: &Tuple) -> Result<bool, DatapathError>;
    /// Says whether the pod has flows that return through the stack.
    fn note_via_stack(&self, pod: &Addr, any: bool) -> Result<(), DatapathError>;
    /// Says whether the node itself has translated flows.
    fn note_host_flows(&self, any: bool) -> Result<(), DatapathError>;
}

impl Tables for Datapath {
    fn room(&self) -> u32 {
        Self::flow_table_size(self)
    }

    fn pods(&self) -> Result<Vec<(Addr, Pod)>, DatapathError> {
        Self::pods(self)
    }

    fn has_pod(&self, addr: &Addr) -> Result<bool, DatapathError> {
        Self::has_pod(self, addr)
    }

    fn addresses(&self) -> Result<Vec<Addr>, DatapathError> {
        // Whoever asked for a port of the node did so by any of them.
        Ok([Self::uplink_addresses(self)?, self.node_addresses()?].concat())
    }

    fn visit_flows(&self, show: impl FnMut(&[Tuple], &[Flow])) -> Result<(), DatapathError> {
        Self::visit_flows(self, show)
    }

    fn visit_nat(&self, show: impl FnMut(&[Tuple], &[Nat])) -> Result<(), DatapathError> {
        Self::visit_nat(self, show)
    }

    fn flow(&self, key: &Tuple) -> Result<Option<Flow>, DatapathError> {
        Self::flow(self, key)
    }

    fn nat(&self, key: &Tuple) -> Result<Option<Nat>, DatapathError> {
        Self::nat(self, key)
    }

    fn remove_flow(&self, key: &Tuple) -> Result<bool, DatapathError> {
        Self::remove_flow(self, key)
    }

    fn remove_nat(&self, key: &Tuple) -> Result<bool, DatapathError> {
        Self::remove_nat(self, key)
    }

    fn note_via_stack(&self, pod: &Addr, any: bool) -> Result<(), DatapathError> {
        Self::note_via_stack(self, pod, any)
    }

    fn note_host_flows(&self, any: bool) -> Result<(), DatapathError> {
        Self::note_host_flows(self, any)
    }
}

/// The key in `nat` of a flow that is translated.
pub(super) const fn nat_key(tuple: &Tuple, flow: &Flow) -> Tuple {
    tuple.inside_as(flow.nat_addr, flow.nat_port)
}

/// The key in `flows` of what a translation leads back to.
pub(super) const fn flow_key(tuple: &Tuple, nat: &Nat) -> Tuple {
    tuple.inside_as(nat.inside, nat.inside_port)
}

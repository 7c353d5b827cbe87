//! One pass over the tables of flows.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::time::Duration;

use weft_abi::{Addr, Flow, FlowFlags, PodFlags, Tuple};

use crate::datapath::DatapathError;

use super::Timeouts;
use super::report::{Removed, Swept};
use super::state::{Back, State, last_seen, state, ticks_since};
use super::tables::{Tables, flow_key, nat_key};

/// How long an address may be off the node before the flows that are translated to it go: a link that flaps loses
/// its IPv6 addresses, and gets them back.
const ADDRESS_GRACE: Duration = Duration::from_secs(60);

/// Full to this part, a table makes the sweeps hurry.
const PRESSED: (u64, u64) = (3, 4);

/// The moment of a sweep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// As the programs keep time.
    pub(super) tick: u32,
    /// Since any fixed moment.
    pub(super) clock: Duration,
}

/// What is kept from one sweep to the next.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    hash: RandomState,
    /// Halves of flows whose other half was missing: gone if it still is next time.
    halves: HashSet<u64, Already>,
    /// Addresses that flows are translated to and the node has not, and since when.
    missing: HashMap<Addr, Duration>,
    /// Translations of the last sweep.
    expected: usize,
    pressed: bool,
}

/// Keys are hashes already.
type Already = BuildHasherDefault<Same>;

#[derive(Debug, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// An entry of `nat`: 17 bytes and as much again, at worst, for room in the hash table.
#[derive(Clone, Copy, Debug)]
struct Mark {
    seen: u32,
    flags: u16,
    joined: bool,
}

/// What a pass has found so far.
struct Pass<'a, T> {
    tables: &'a T,
    timeouts: &'a Timeouts,
    sweeper: &'a Sweeper,
    now: Now,
    /// And whether flows of it return through the stack, as far as the programs know.
    pods: HashMap<Addr, bool>,
    addresses: HashSet<Addr>,
    missing: HashMap<Addr, Duration>,
    via_stack: HashSet<Addr>,
    host_flows: bool,
    marks: HashMap<u64, Mark, Already>,
    halves: HashSet<u64, Already>,
    swept: Swept,
}

/// Why a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Expired,
    Orphaned,
    PodGone,
    AddressGone,
}

impl Sweeper {
    /// Whether the tables were nearly full the last time.
    pub(super) fn is_pressed(&self) -> bool {
        self.pressed
    }

    /// Removes what is over from both tables.
    pub(super) fn sweep<T: Tables>(
        &mut self,
        tables: &T,
        timeouts: &Timeouts,
        now: Now,
    ) -> Result<Swept, DatapathError> {
        let addresses: HashSet<Addr> = tables.addresses()?.into_iter().collect();
        let mut missing = std::mem::take(&mut self.missing);
        missing.retain(|address, _| !addresses.contains(address));
        let pods = tables.pods()?.into_iter().map(|(addr, pod)| (addr, pod.flags & PodFlags::VIA_STACK != 0));
        let mut pass = Pass {
            tables,
            timeouts,
            sweeper: &*self,
            now,
            pods: pods.collect(),
            addresses,
            missing,
            via_stack: HashSet::new(),
            host_flows: false,
            marks: HashMap::with_capacity_and_hasher(self.expected, Already::default()),
            halves: HashSet::default(),
            swept: Swept::default(),
        };
        let suspects = pass.read_nat()?;
        pass.sweep_flows()?;
        pass.sweep_nat(&suspects)?;
        pass.note()?;
        let Pass { swept, halves, missing, marks, .. } = pass;
        self.expected = marks.len();
        (self.halves, self.missing) = (halves, missing);
        let left = swept.states.iter().sum::<u64>().max(swept.nat.saturating_sub(swept.removed.all()));
        self.pressed = left * PRESSED.1 > u64::from(tables.room()) * PRESSED.0;
        Ok(swept)
    }
}

impl<T: Tables> Pass<'_, T> {
    /// Remembers every translation; those that had no flow the last time.
    fn read_nat(&mut self) -> Result<Vec<Tuple>, DatapathError> {
        let Self { tables, sweeper, marks, swept, .. } = self;
        let mut suspects = Vec::new();
        tables.visit_nat(|keys, values| {
            swept.nat += keys.len() as u64;
            for (key, nat) in keys.iter().zip(values) {
                let hash = sweeper.hash.hash_one(key);
                if sweeper.halves.contains(&hash) {
                    suspects.push(*key);
                }
                let flags = u16::try_from(nat.flags & u32::from(u16::MAX)).unwrap_or_default();
                marks.insert(hash, Mark { seen: nat.seen, flags, joined: false });
            }
        })?;
        Ok(suspects)
    }

    fn sweep_flows(&mut self) -> Result<(), DatapathError> {
        let tables = self.tables;
        let mut outcome = Ok(());
        let mut doomed = Vec::new();
        tables.visit_flows(|keys, values| {
            self.swept.flows += keys.len() as u64;
            for (key, flow) in keys.iter().zip(values) {
                match self.judge(key, flow) {
                    Ok(state) => self.keep(key, flow, state),
                    Err(why) => doomed.push((*key, why)),
                }
            }
            for (key, why) in doomed.drain(..) {
                if outcome.is_ok() {
                    outcome = self.remove(&key, why);
                }
            }
        })?;
        outcome
    }

    /// The state of a flow that stays, or why it goes, by what the pass knows.
    fn judge(&mut self, key: &Tuple, flow: &Flow) -> Result<State, Why> {
        if flow.flags & FlowFlags::HOST == 0 && !self.pods.contains_key(&key.inside) {
            return Err(Why::PodGone);
        }
        let mut back = None;
        if flow.flags & FlowFlags::TRANSLATED != 0 {
            if !self.addresses.contains(&flow.nat_addr) {
                let since = *self.missing.entry(flow.nat_addr).or_insert(self.now.clock);
                if self.now.clock.saturating_sub(since) >= ADDRESS_GRACE {
                    return Err(Why::AddressGone);
                }
            }
            let hash = self.sweeper.hash.hash_one(nat_key(key, flow));
            match self.marks.get_mut(&hash) {
                Some(mark) => {
                    mark.joined = true;
                    back = Some(Back { seen: mark.seen, flags: mark.flags.into() });
                }
                None if self.sweeper.halves.contains(&hash) => return Err(Why::Orphaned),
                None => drop(self.halves.insert(hash)),
            }
        }
        self.unless_expired(key, flow, back)
    }

    fn unless_expired(&self, key: &Tuple, flow: &Flow, back: Option<Back>) -> Result<State, Why> {
        let state = state(key.protocol, flow, back);
        let idle = ticks_since(self.now.tick, last_seen(flow, back));
        if idle >= self.timeouts.ticks(key.protocol, state, self.sweeper.pressed) {
            Err(Why::Expired)
        } else {
            Ok(state)
        }
    }

    fn keep(&mut self, key: &Tuple, flow: &Flow, state: State) {
        self.swept.states[state as usize] += 1;
        if flow.flags & FlowFlags::VIA_STACK != 0 && !self.via_stack.contains(&key.inside) {
            self.via_stack.insert(key.inside);
        }
        self.host_flows |= flow.flags & FlowFlags::HOST != 0;
    }

    /// Removes a flow and its translation, unless the reason has gone meanwhile.
    fn remove(&mut self, key: &Tuple, why: Why) -> Result<(), DatapathError> {
        let Some(flow) = self.tables.flow(key)? else { return Ok(()) };
        let back_key = nat_key(key, &flow);
        let translated = flow.flags & FlowFlags::TRANSLATED != 0;
        let back = if translated { self.tables.nat(&back_key)? } else { None };
        // Another flow may have the port by now.
        let back = back.filter(|back| flow_key(&back_key, back) == *key);
        let stays = match why {
            Why::Expired => self.unless_expired(key, &flow, back.map(Back::from)).is_ok(),
            Why::Orphaned => back.is_some(),
            Why::PodGone => self.tables.has_pod(&key.inside)?,
            Why::AddressGone => self.tables.addresses()?.contains(&flow.nat_addr),
        };
        if stays {
            self.keep(key, &flow, state(key.protocol, &flow, back.map(Back::from)));
            return Ok(());
        }
        // In this order: a packet in between begins the flow anew, with another port.
        self.tables.remove_flow(key)?;
        if back.is_some() {
            self.tables.remove_nat(&back_key)?;
        }
        self.swept.removed.count(why);
        Ok(())
    }

    /// Removes translations that have had no flow for two sweeps, and remembers those that have none now.
    fn sweep_nat(&mut self, suspects: &[Tuple]) -> Result<(), DatapathError> {
        for key in suspects {
            let joined = self.marks.get(&self.sweeper.hash.hash_one(key)).is_some_and(|mark| mark.joined);
            let Some(nat) = (if joined { None } else { self.tables.nat(key)? }) else { continue };
            let flow = self.tables.flow(&flow_key(key, &nat))?;
            if flow.is_none_or(|flow| flow.flags & FlowFlags::TRANSLATED == 0 || nat_key(key, &flow) != *key) {
                self.tables.remove_nat(key)?;
                self.swept.removed.count(Why::Orphaned);
            }
        }
        let alone = self.marks.iter().filter(|(_, mark)| !mark.joined).map(|(hash, _)| *hash);
        self.halves.extend(alone);
        Ok(())
    }

    /// Puts right what the programs ask before they look for a flow.
    fn note(&self) -> Result<(), DatapathError> {
        for (addr, noted) in &self.pods {
            let any = self.via_stack.contains(addr);
            if any != *noted {
                self.tables.note_via_stack(addr, any)?;
            }
        }
        self.tables.note_host_flows(self.host_flows)
    }
}

impl Removed {
    fn count(&mut self, why: Why) {
        match why {
            Why::Expired => self.expired += 1,
            Why::Orphaned => self.orphaned += 1,
            Why::PodGone => self.pod_gone += 1,
            Why::AddressGone => self.address_gone += 1,
        }
    }
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;

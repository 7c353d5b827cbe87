//! One pass over the tables of flows.
//!
//! Almost every flow is alive, so a pass may cost it little. Most translations say nothing but "answered, nobody
//! closes": only the others are remembered for the flows' turn, and whoever has none is taken for answered. Whether
//! both halves are there is asked of a part of the flows at a time.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::time::Duration;

use weft_abi::{Addr, Flow, FlowFlags, PodFlags, Tuple};

use crate::datapath::DatapathError;

use super::Timeouts;
use super::report::{Removed, Swept};
use super::state::{Back, State, last_seen, state, ticks_since};
use super::tables::{Tables, flow_key, nat_key};
use super::timeouts::Ticks;

/// How long an address may be off the node before the flows that are translated to it go: a link that flaps loses
/// its IPv6 addresses, and gets them back.
const ADDRESS_GRACE: Duration = Duration::from_secs(60);

/// Flows of which both halves are looked for in one sweep.
const PART: usize = 65_536;

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
    halves: HashSet<u64, Quick>,
    /// Addresses that flows are translated to and the node has not, and since when.
    missing: HashMap<Addr, Duration>,
    /// Translations that the last sweep found; before the first there may be as many as fit.
    entries: Option<usize>,
    turn: u32,
    pressed: bool,
}

/// Quick, for keys that nobody outside chooses, or that are hashes already.
type Quick = BuildHasherDefault<Mix>;

#[derive(Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks();
        for word in words {
            self.write_u64(u64::from_ne_bytes(*word));
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn write_u64(&mut self, word: u64) {
        // 2^64 divided by the golden ratio: Fibonacci hashing.
        let product = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

/// The part of the flows that is looked at for halves. Each part has two turns, the second to remove what had only
/// one half in the first.
#[derive(Clone, Copy, Debug)]
struct Part {
    number: u32,
    of: u32,
}

impl Part {
    fn of_turn(turn: u32, entries: usize) -> Self {
        let of = u32::try_from(entries / PART).unwrap_or(u32::MAX).max(1);
        Self { number: turn / 2 % of, of }
    }

    /// The flow is known by what both halves have.
    fn has(self, outside: &Addr, nat_port: u16) -> bool {
        let [a, b, c, d] = outside.words;
        let mixed = (a ^ b ^ c ^ d).wrapping_add(u32::from(nat_port)).wrapping_mul(0x9e37_79b1);
        self.of == 1 || (mixed >> 8) % self.of == self.number
    }
}

/// An entry of `nat`.
#[derive(Clone, Copy, Debug)]
struct Mark {
    seen: u32,
    flags: u16,
    joined: bool,
}

/// What is taken for the other half of a flow that has no mark.
const ANSWERED: Back = Back { seen: 1, flags: 0 };

/// What a pass has found so far.
struct Pass<'a, T> {
    tables: &'a T,
    ticks: Ticks,
    part: Part,
    sweeper: &'a Sweeper,
    now: Now,
    /// And whether flows of it return through the stack, as far as the programs know.
    pods: HashMap<Addr, bool, Quick>,
    addresses: HashSet<Addr, Quick>,
    missing: HashMap<Addr, Duration>,
    via_stack: HashSet<Addr, Quick>,
    host_flows: bool,
    marks: HashMap<u64, Mark, Quick>,
    halves: HashSet<u64, Quick>,
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
        let addresses: HashSet<Addr, Quick> = tables.addresses()?.into_iter().collect();
        let mut missing = std::mem::take(&mut self.missing);
        missing.retain(|address, _| !addresses.contains(address));
        let pods = tables.pods()?.into_iter().map(|(addr, pod)| (addr, pod.flags & PodFlags::VIA_STACK != 0));
        let mut pass = Pass {
            tables,
            ticks: timeouts.ticks(self.pressed),
            part: Part::of_turn(self.turn, self.entries.unwrap_or(tables.room() as usize)),
            sweeper: &*self,
            now,
            pods: pods.collect(),
            addresses,
            missing,
            via_stack: HashSet::default(),
            host_flows: false,
            marks: HashMap::default(),
            halves: HashSet::default(),
            swept: Swept::default(),
        };
        let suspects = pass.read_nat()?;
        pass.sweep_flows()?;
        pass.sweep_nat(&suspects)?;
        pass.note()?;
        let Pass { swept, halves, missing, .. } = pass;
        self.entries = usize::try_from(swept.nat).ok();
        self.turn = self.turn.wrapping_add(1);
        (self.halves, self.missing) = (halves, missing);
        let left = swept.states.iter().sum::<u64>().max(swept.nat.saturating_sub(swept.removed.all()));
        self.pressed = left * PRESSED.1 > u64::from(tables.room()) * PRESSED.0;
        Ok(swept)
    }
}

impl<T: Tables> Pass<'_, T> {
    /// Remembers translations that say something; returns those that had no flow the last time.
    fn read_nat(&mut self) -> Result<Vec<Tuple>, DatapathError> {
        let Self { tables, sweeper, part, marks, swept, .. } = self;
        let mut suspects = Vec::new();
        tables.visit_nat(|keys, values| {
            swept.nat += keys.len() as u64;
            for (key, nat) in keys.iter().zip(values) {
                if nat.seen != 0 && nat.flags & FlowFlags::CLOSING == 0 && !part.has(&key.outside, key.inside_port) {
                    continue;
                }
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
            let is_part = self.part.has(&key.outside, flow.nat_port);
            back = Some(ANSWERED);
            if is_part || !self.marks.is_empty() {
                let hash = self.sweeper.hash.hash_one(nat_key(key, flow));
                if let Some(mark) = self.marks.get_mut(&hash) {
                    mark.joined = true;
                    back = Some(Back { seen: mark.seen, flags: mark.flags.into() });
                } else if is_part {
                    if self.sweeper.halves.contains(&hash) {
                        return Err(Why::Orphaned);
                    }
                    self.halves.insert(hash);
                    back = None;
                }
            }
        }
        self.unless_expired(key, flow, back)
    }

    fn unless_expired(&self, key: &Tuple, flow: &Flow, back: Option<Back>) -> Result<State, Why> {
        let state = state(key.protocol, flow, back);
        let idle = ticks_since(self.now.tick, last_seen(flow, back));
        if idle >= self.ticks.of(key.protocol, state) { Err(Why::Expired) } else { Ok(state) }
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

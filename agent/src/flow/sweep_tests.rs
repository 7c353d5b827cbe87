//! Sweeps over tables in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_abi::{Nat, Pod};

use super::*;

/// Tables in memory. What `between` does happens right after the flows were shown.
#[derive(Default)]
struct Fake {
    pods: RefCell<HashMap<Addr, Pod>>,
    addresses: RefCell<Vec<Addr>>,
    flows: RefCell<HashMap<Tuple, Flow>>,
    nat: RefCell<HashMap<Tuple, Nat>>,
    host_flows: Cell<bool>,
    touched: RefCell<BTreeMap<u16, u32>>,
}

impl Tables for Fake {
    fn room(&self) -> u32 {
        8
    }

    fn pods(&self) -> Result<Vec<(Addr, Pod)>, DatapathError> {
        Ok(self.pods.borrow().iter().map(|(addr, pod)| (*addr, *pod)).collect())
    }

    fn has_pod(&self, addr: &Addr) -> Result<bool, DatapathError> {
        Ok(self.pods.borrow().contains_key(addr))
    }

    fn addresses(&self) -> Result<Vec<Addr>, DatapathError> {
        Ok(self.addresses.borrow().clone())
    }

    fn visit_flows(&self, mut show: impl FnMut(&[Tuple], &[Flow])) -> Result<(), DatapathError> {
        let (keys, values): (Vec<Tuple>, Vec<Flow>) = self.flows.borrow().iter().map(|(k, v)| (*k, *v)).unzip();
        for (key, flow) in self.flows.borrow_mut().iter_mut() {
            // A packet that comes between the look at the table and the second one.
            flow.seen = self.touched.borrow().get(&key.inside_port).copied().unwrap_or(flow.seen);
        }
        show(&keys, &values);
        Ok(())
    }

    fn visit_nat(&self, mut show: impl FnMut(&[Tuple], &[Nat])) -> Result<(), DatapathError> {
        let (keys, values): (Vec<Tuple>, Vec<Nat>) = self.nat.borrow().iter().map(|(k, v)| (*k, *v)).unzip();
        show(&keys, &values);
        Ok(())
    }

    fn flow(&self, key: &Tuple) -> Result<Option<Flow>, DatapathError> {
        Ok(self.flows.borrow().get(key).copied())
    }

    fn nat(&self, key: &Tuple) -> Result<Option<Nat>, DatapathError> {
        Ok(self.nat.borrow().get(key).copied())
    }

    fn remove_flow(&self, key: &Tuple) -> Result<bool, DatapathError> {
        Ok(self.flows.borrow_mut().remove(key).is_some())
    }

    fn remove_nat(&self, key: &Tuple) -> Result<bool, DatapathError> {
        Ok(self.nat.borrow_mut().remove(key).is_some())
    }

    fn note_via_stack(&self, pod: &Addr, any: bool) -> Result<(), DatapathError> {
        let mut pods = self.pods.borrow_mut();
        let pod = pods.get_mut(pod).unwrap();
        pod.flags = if any { PodFlags::VIA_STACK } else { 0 };
        Ok(())
    }

    fn note_host_flows(&self, any: bool) -> Result<(), DatapathError> {
        self.host_flows.set(any);
        Ok(())
    }
}

const NODE: [u8; 4] = [192, 0, 2, 1];
const TCP: u8 = 6;

fn addr(octets: [u8; 4]) -> Addr {
    IpAddr::from(octets).into()
}

impl Fake {
    fn new() -> Self {
        let fake = Self::default();
        fake.pods.borrow_mut().insert(addr([10, 0, 0, 2]), Pod::default());
        fake.addresses.borrow_mut().push(addr(NODE));
        fake
    }

    /// A flow of the pod by its port, with its translation.
    fn translated(&self, port: u16, flow: Flow, nat: Nat) -> Tuple {
        let key = Tuple::between(TCP, (addr([10, 0, 0, 2]), port), (addr([198, 51, 100, 7]), 443_u16.to_be()));
        let confirmed = if nat.seen == 0 { 0 } else { FlowFlags::CONFIRMED };
        let flags = flow.flags | FlowFlags::TRANSLATED | confirmed;
        let flow = Flow { flags, nat_addr: addr(NODE), nat_port: port, ..flow };
        self.nat.borrow_mut().insert(nat_key(&key, &flow), Nat { inside: key.inside, inside_port: port, ..nat });
        self.flows.borrow_mut().insert(key, flow);
        key
    }

    fn has(&self, key: &Tuple) -> (bool, bool) {
        let flows = self.flows.borrow();
        let back = Tuple { inside: addr(NODE), ..*key };
        (flows.contains_key(key), self.nat.borrow().contains_key(&back))
    }

    fn sweep(&self, sweeper: &mut Sweeper, secs: u64) -> Swept {
        let clock = Duration::from_secs(secs);
        let tick = weft_abi::tick(u64::try_from(clock.as_nanos()).unwrap());
        sweeper.sweep(self, &Timeouts::default(), Now { tick, clock }).unwrap()
    }
}

fn seen(tick: u32) -> Flow {
    Flow { seen: tick, created: tick, ..Flow::default() }
}

fn answered(tick: u32) -> Nat {
    Nat { seen: tick, ..Nat::default() }
}

#[test]
fn what_is_over_goes_with_its_other_half() {
    let (fake, mut sweeper) = (Fake::new(), Sweeper::default());
    let unanswered = fake.translated(1, seen(900), Nat::default());
    let established = fake.translated(2, seen(900), answered(900));
    let reset = fake.translated(3, seen(900), Nat { flags: FlowFlags::RESET, ..answered(900) });
    let half = Flow { flags: FlowFlags::FIN_INSIDE, ..seen(900) };
    let half = fake.translated(4, half, answered(900));
    let downloading = fake.translated(5, seen(100), answered(999));
    let swept = fake.sweep(&mut sweeper, 1010);
    assert_eq!((swept.flows, swept.nat, swept.removed.expired), (5, 5, 2));
    for (key, stays) in [(unanswered, false), (established, true), (reset, false), (half, true), (downloading, true)] {
        assert_eq!(fake.has(&key), (stays, stays), "{key:?}");
    }
    assert_eq!(swept.states[State::Established as usize], 2);
    assert_eq!(swept.states[State::HalfClosed as usize], 1);
    assert_eq!(fake.sweep(&mut sweeper, 1030), Swept { flows: 3, nat: 3, states: swept.states, ..Swept::default() });
}

#[test]
fn a_flow_that_was_just_used_stays() {
    let (fake, mut sweeper) = (Fake::new(), Sweeper::default());
    let key = fake.translated(1, seen(10), answered(10));
    fake.touched.borrow_mut().insert(1, 9000);
    let swept = fake.sweep(&mut sweeper, 9700);
    assert_eq!(fake.has(&key), (true, true));
    assert_eq!((swept.removed, swept.states[State::Established as usize]), (Removed::default(), 1));
}

#[test]
fn halves_go_after_two_sweeps() {
    let (fake, mut sweeper) = (Fake::new(), Sweeper::default());
    let no_nat = fake.translated(1, seen(900), answered(900));
    let no_flow = fake.translated(2, seen(900), answered(900));
    let late = fake.translated(3, seen(900), answered(900));
    let late_nat = fake.nat.borrow_mut().remove(&Tuple { inside: addr(NODE), ..late }).unwrap();
    fake.nat.borrow_mut().remove(&Tuple { inside: addr(NODE), ..no_nat });
    fake.flows.borrow_mut().remove(&no_flow);
    assert_eq!(fake.sweep(&mut sweeper, 967).removed, Removed::default());
    assert_eq!((fake.has(&no_nat), fake.has(&no_flow)), ((true, false), (false, true)));
    fake.nat.borrow_mut().insert(Tuple { inside: addr(NODE), ..late }, late_nat);
    assert_eq!(fake.sweep(&mut sweeper, 969).removed.orphaned, 2);
    assert_eq!((fake.has(&no_nat), fake.has(&no_flow)), ((false, false), (false, false)));
    assert_eq!(fake.has(&late), (true, true));
}

#[test]
fn a_port_that_another_flow_has_by_now_stays_its() {
    let (fake, mut sweeper) = (Fake::new(), Sweeper::default());
    let old = fake.translated(1, seen(10), answered(10));
    let back = Tuple { inside: addr(NODE), ..old };
    fake.nat
        .borrow_mut()
        .insert(back, Nat { seen: 9_000, inside: addr([10, 0, 0, 2]), inside_port: 7, ..Nat::default() });
    // The new owner's flow.
    let new = Tuple { inside_port: 7, ..old };
    let flags = FlowFlags::TRANSLATED | FlowFlags::CONFIRMED;
    let flow = Flow { flags, nat_addr: addr(NODE), nat_port: 1, ..seen(9_000) };
    fake.flows.borrow_mut().insert(new, flow);
    fake.flows.borrow_mut().get_mut(&old).unwrap().seen = 10;
    for secs in [9_700, 19_000] {
        fake.sweep(&mut sweeper, secs);
        if secs == 9_700 {
            assert!(fake.nat.borrow().contains_key(&back));
        }
    }
    assert!(fake.flows.borrow().is_empty() && fake.nat.borrow().is_empty());
}

#[test]
fn flows_of_pods_and_addresses_that_are_gone_go() {
    let (fake, mut sweeper) = (Fake::new(), Sweeper::default());
    let key = fake.translated(1, seen(900), answered(900));
    fake.addresses.borrow_mut().clear();
    assert_eq!(fake.sweep(&mut sweeper, 967).removed, Removed::default());
    fake.addresses.borrow_mut().push(addr(NODE));
    assert_eq!(fake.sweep(&mut sweeper, 1030).removed, Removed::default());
    fake.addresses.borrow_mut().clear();
    assert_eq!(fake.sweep(&mut sweeper, 1040).removed, Removed::default());
    assert_eq!(fake.sweep(&mut sweeper, 1099).removed, Removed::default());
    assert_eq!(fake.has(&key), (true, true));
    assert_eq!(fake.sweep(&mut sweeper, 1100).removed.address_gone, 1);
    assert_eq!(fake.has(&key), (false, false));

    fake.addresses.borrow_mut().push(addr(NODE));
    let key = fake.translated(1, seen(1025), answered(1025));
    fake.pods.borrow_mut().clear();
    assert_eq!(fake.sweep(&mut sweeper, 1101).removed.pod_gone, 1);
    assert_eq!(fake.has(&key), (false, false));
}

#[test]
fn the_marks_of_the_programs_follow_the_flows() {
    let (fake, mut sweeper) = (Fake::new(), Sweeper::default());
    let via_stack = Flow { flags: FlowFlags::VIA_STACK | FlowFlags::CONFIRMED, ..seen(900) };
    let key = Tuple { inside: addr([10, 0, 0, 2]), protocol: TCP, ..Tuple::default() };
    fake.flows.borrow_mut().insert(key, via_stack);
    let host = Flow { flags: FlowFlags::HOST | FlowFlags::CONFIRMED, ..seen(900) };
    let host_key = Tuple { inside: addr(NODE), protocol: TCP, ..Tuple::default() };
    fake.flows.borrow_mut().insert(host_key, host);
    fake.sweep(&mut sweeper, 967);
    let flags = || fake.pods.borrow()[&addr([10, 0, 0, 2])].flags;
    assert_eq!((flags(), fake.host_flows.get()), (PodFlags::VIA_STACK, true));
    fake.flows.borrow_mut().clear();
    fake.sweep(&mut sweeper, 969);
    assert_eq!((flags(), fake.host_flows.get()), (0, false));
}

#[test]
fn a_table_that_is_nearly_full_hurries_the_unanswered() {
    let (fake, mut sweeper) = (Fake::new(), Sweeper::default());
    for port in 1..=6 {
        fake.translated(port, seen(900), answered(900));
    }
    fake.translated(7, seen(900), Nat::default());
    assert_eq!(fake.sweep(&mut sweeper, 976).removed, Removed::default());
    assert!(sweeper.is_pressed());
    assert_eq!(fake.sweep(&mut sweeper, 978).removed.expired, 1);
    assert_eq!(fake.flows.borrow().len(), 6);
    assert!(!sweeper.is_pressed());
}

#[test]
fn every_flow_has_its_turn_in_each_round() {
    let keys: Vec<(Addr, u16)> = (0..5000_u16).map(|port| (addr([198, 51, 100, 7]), port.to_be())).collect();
    let entries = 8 * PART;
    let mut turns = vec![0; keys.len()];
    for turn in 0..16 {
        let part = Part::of_turn(turn, entries);
        let counts = turns.iter_mut().zip(&keys).filter(|(_, (outside, port))| part.has(outside, *port));
        let among = counts.map(|(count, _)| *count += 1).count();
        assert!((300..1000).contains(&among), "{among} of 5000 in one of eight parts");
    }
    assert!(turns.iter().all(|count| *count == 2));
    let whole = Part::of_turn(3, PART);
    assert!(keys.iter().all(|(outside, port)| whole.has(outside, *port)));
}

#[test]
fn what_has_no_mark_is_taken_for_answered() {
    let (fake, mut sweeper) = (Fake::new(), Sweeper { entries: Some(1000 * PART), ..Sweeper::default() });
    let keys: Vec<Tuple> = (1..50).map(|port| fake.translated(port, seen(900), answered(900))).collect();
    let unanswered = fake.translated(50, seen(900), Nat::default());
    let swept = fake.sweep(&mut sweeper, 1010);
    assert_eq!((swept.removed.expired, swept.states[State::Established as usize]), (1, 49));
    assert_eq!(fake.has(&unanswered), (false, false));
    assert!(keys.iter().all(|key| fake.has(key) == (true, true)));
    // The inside alone has been silent for too long, which a second look puts right.
    let downloading = fake.translated(60, seen(10), answered(9700));
    fake.sweep(&mut sweeper, 10_000);
    assert_eq!((fake.has(&downloading), fake.has(&keys[0])), ((true, true), (false, false)));
}

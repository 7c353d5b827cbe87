//! `rates`: what an endpoint's limits are there, and what came of them; and the shaper's programs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

use weft_abi::{Direction, Limit, PodFlags, RATES_MAX, Rate, map};
use weft_cni::api::{Bandwidth, LimitCounters, LimitUse, RateLimit};

use super::hook::{Device, Role};
use super::maps::{Maps, full_or, of};
use super::plain::Put;
use super::{Datapath, DatapathError};
use crate::endpoint::Endpoint;
use crate::node::{Class, Method, Shaper};

/// Whose limits stand, and which numbers of classes are given out.
#[derive(Debug, Default)]
pub(super) struct Granted {
    numbers: BTreeSet<u16>,
    /// Endpoints that this process has given limits.
    endpoints: HashSet<u32>,
}

impl Granted {
    /// What an older agent has given out.
    pub(super) fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let rates = maps.rates.all().map_err(of("iterate", map::RATES))?;
        let classes = rates.iter().flat_map(|(_, rate)| [rate.egress.class, rate.ingress.class]);
        let numbers = classes.filter(|class| *class != 0).map(Class::number).collect();
        Ok(Self { numbers, endpoints: HashSet::new() })
    }

    fn take(&mut self) -> Result<u32, DatapathError> {
        let free = (Class::FIRST..=Class::LAST).find(|number| !self.numbers.contains(number));
        let number = free.ok_or(DatapathError::Full { map: map::RATES, entries: RATES_MAX })?;
        self.numbers.insert(number);
        Ok(Class::handle(number))
    }

    fn give_back(&mut self, rate: &Rate) -> Vec<u32> {
        let classes: Vec<u32> =
            [rate.egress.class, rate.ingress.class].into_iter().filter(|class| *class != 0).collect();
        for class in &classes {
            self.numbers.remove(&Class::number(*class));
        }
        classes
    }
}

impl Datapath {
    /// Attaches the programs at both ends and has packets of limited pods sent there.
    ///
    /// # Errors
    /// A device is gone, or the kernel refuses a program.
    pub fn set_shaper(&self, shaper: Shaper) -> Result<(), DatapathError> {
        let ends = [
            (Device { name: Shaper::EXIT, index: shaper.exit }, Role::Shaped),
            (Device { name: Shaper::ENTRANCE, index: shaper.entrance }, Role::Shaper),
        ];
        {
            let mut state = self.state();
            for (device, role) in ends {
                if !self.attacher.is_whole(&state.programs, device, role)? {
                    let state = &mut *state;
                    self.attacher.attach(&mut state.programs, &state.others, device, role)?;
                }
            }
        }
        self.change_node(|node| {
            (node.shaper, node.shaped) = (shaper.entrance, shaper.exit);
            node.departure = u32::from(shaper.method == Method::Edt);
        })
    }

    /// Writes the endpoint's limits; what they need of classes. Those that it has no longer stay until
    /// [`Datapath::withdraw_rates`], so that no packet that is told to wait finds nobody who knows for how long.
    ///
    /// # Errors
    /// The map is full or cannot be written.
    pub fn grant_rates(&self, endpoint: &Endpoint, method: Method) -> Result<Vec<Class>, DatapathError> {
        let bandwidth = endpoint.spec.bandwidth;
        if bandwidth.is_unlimited() {
            return Ok(Vec::new());
        }
        let mut granted = self.granted();
        let before = self.rate(endpoint.id)?;
        let mut rate = before.unwrap_or_default();
        for direction in Direction::ALL {
            let Some(asked) = limit_of(bandwidth, direction) else { continue };
            let limit = rate.limit_mut(direction);
            let class = match method {
                Method::Edt => 0,
                Method::Htb if limit.class == 0 => granted.take()?,
                Method::Htb => limit.class,
            };
            *limit = Limit { class, ..told(asked, endpoint.spec.mtu, *limit) };
        }
        granted.endpoints.insert(endpoint.id);
        if before != Some(rate) {
            let written = self.maps.rates.put(&endpoint.id, &rate, Put::Locked);
            written.map_err(full_or(map::RATES, RATES_MAX))?;
        }
        Ok(classes(&rate, endpoint))
    }

    /// Forgets limits that the endpoint has no longer, or all of one that is gone; the handles of their classes, which
    /// somebody else may be given from now on.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn withdraw_rates(&self, id: u32, stay: Bandwidth) -> Result<Vec<u32>, DatapathError> {
        let mut granted = self.granted();
        let Some(before) = self.rate(id)? else { return Ok(Vec::new()) };
        let (mut rate, mut gone) = (before, Rate::default());
        for direction in Direction::ALL {
            if limit_of(stay, direction).is_none() {
                std::mem::swap(rate.limit_mut(direction), gone.limit_mut(direction));
            }
        }
        if stay.is_unlimited() {
            self.maps.rates.delete(&id).map_err(of("delete", map::RATES))?;
            granted.endpoints.remove(&id);
        } else if rate != before {
            self.maps.rates.put(&id, &rate, Put::Locked).map_err(of("update", map::RATES))?;
        }
        Ok(granted.give_back(&gone))
    }

    /// Compares the endpoint's limits with the map; the classes that they need.
    ///
    /// # Errors
    /// The difference, or a call that failed.
    pub fn verify_rates(&self, endpoint: &Endpoint, method: Method) -> Result<Vec<Class>, DatapathError> {
        let found = self.rate(endpoint.id)?.unwrap_or_default();
        for direction in Direction::ALL {
            let limit = found.limit(direction);
            let wanted = limit_of(endpoint.spec.bandwidth, direction);
            let wanted = wanted.map_or_else(Limit::default, |asked| told(asked, endpoint.spec.mtu, *limit));
            let has_class = limit.class != 0;
            let needs_class = wanted.rate != 0 && method == Method::Htb;
            if (limit.rate, limit.credit_ns, has_class) != (wanted.rate, wanted.credit_ns, needs_class) {
                return Err(DatapathError::OtherRate { endpoint: endpoint.id, direction: direction.name() });
            }
        }
        Ok(classes(&found, endpoint))
    }

    /// Endpoints with limits that are none of these, and that this process has given none.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn stale_rates(&self, live: &[Endpoint]) -> Result<Vec<u32>, DatapathError> {
        let granted = self.granted();
        let live: HashSet<u32> = live.iter().map(|endpoint| endpoint.id).collect();
        let stale = |id: &u32| !live.contains(id) && !granted.endpoints.contains(id);
        Ok(self.all_rates()?.into_keys().filter(stale).collect())
    }

    /// Every class that an entry names.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn known_classes(&self) -> Result<Vec<u32>, DatapathError> {
        let classes = self.all_rates()?.into_values().flat_map(|rate| [rate.egress.class, rate.ingress.class]);
        Ok(classes.filter(|class| *class != 0).collect())
    }

    /// Endpoints with limits.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn limited(&self) -> Result<usize, DatapathError> {
        Ok(self.all_rates()?.len())
    }

    /// What came of the endpoint's limits; `drops` tells what classes have dropped.
    ///
    /// # Errors
    /// The map cannot be read, or what `drops` says.
    pub fn limit_use<E: From<DatapathError>>(
        &self,
        id: u32,
        drops: impl Fn(&[u32]) -> Result<Vec<u64>, E>,
    ) -> Result<Option<LimitUse>, E> {
        let Some(rate) = self.rate(id)? else { return Ok(None) };
        let counters = |limit: &Limit| -> Result<Option<LimitCounters>, E> {
            if limit.rate == 0 {
                return Ok(None);
            }
            let dropped = if limit.class == 0 { 0 } else { drops(&[limit.class])?.into_iter().sum() };
            Ok(Some(LimitCounters {
                sent_packets: limit.sent_packets,
                sent_bytes: limit.sent_bytes,
                delayed_packets: limit.delayed_packets,
                delay_ns: limit.delay_ns,
                marked_packets: limit.marked_packets,
                dropped_packets: limit.dropped_packets + dropped,
            }))
        };
        Ok(Some(LimitUse { ingress: counters(&rate.ingress)?, egress: counters(&rate.egress)? }))
    }

    fn rate(&self, id: u32) -> Result<Option<Rate>, DatapathError> {
        self.maps.rates.get(&id).map_err(of("look-up", map::RATES))
    }

    fn all_rates(&self) -> Result<HashMap<u32, Rate>, DatapathError> {
        Ok(self.maps.rates.all().map_err(of("iterate", map::RATES))?.into_iter().collect())
    }

    fn granted(&self) -> MutexGuard<'_, Granted> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The flags of a pod with these limits.
pub(super) fn flags(bandwidth: Bandwidth) -> u32 {
    let egress = if bandwidth.egress.is_some() { PodFlags::LIMIT_EGRESS } else { 0 };
    let ingress = if bandwidth.ingress.is_some() { PodFlags::LIMIT_INGRESS } else { 0 };
    egress | ingress
}

fn limit_of(bandwidth: Bandwidth, direction: Direction) -> Option<RateLimit> {
    match direction {
        Direction::Egress => bandwidth.egress,
        Direction::Ingress => bandwidth.ingress,
    }
}

/// The burst where nobody asks for one, as nanoseconds of the rate: the processors of virtual machines are taken away for
/// 5 to 20 ms at a time, and what a timer is late beyond the burst is lost to the pod.
const USUAL_BURST_NS: u64 = 20_000_000;

/// The limit as the programs are told it; a burst that is too small to hold the rate is made larger.
fn told(asked: RateLimit, mtu: u32, before: Limit) -> Limit {
    let limit = Limit { rate: (asked.rate / 8).max(1), ..before };
    let burst = match asked.burst {
        0 => USUAL_BURST_NS,
        bits => limit.time_ns((bits / 8).min(u64::MAX / 1_000_000_000)),
    };
    Limit { credit_ns: burst.max(limit.least_burst_ns(mtu.into())), ..limit }
}

fn classes(rate: &Rate, endpoint: &Endpoint) -> Vec<Class> {
    let mtu = endpoint.spec.mtu;
    let limits = [&rate.egress, &rate.ingress].into_iter().filter(|limit| limit.class != 0);
    let class = |limit: &Limit| Class {
        handle: limit.class,
        rate: limit.rate,
        burst_ns: limit.credit_ns,
        queue: limit.queue_bytes(mtu.into()),
        mtu,
    };
    limits.map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_as_time_and_never_too_small_to_hold_the_rate() {
        let tell = |rate, burst| told(RateLimit { rate, burst }, 1500, Limit::default());
        // 10 Mbit/s: 5 ms are 6250 bytes, 4 packets 6000.
        assert_eq!((tell(10_000_000, 0).rate, tell(10_000_000, 0).credit_ns), (1_250_000, 20_000_000));
        assert_eq!(tell(10_000_000, 8).credit_ns, 5_000_000);
        assert_eq!(tell(10_000_000, 10_000_000).credit_ns, 1_000_000_000);
        assert_eq!(tell(1_000_000, 0).credit_ns, 48_000_000);
        assert_eq!(tell(7, u64::MAX).rate, 1);
    }

    #[test]
    fn a_number_is_given_out_once_until_it_comes_back() {
        let mut granted = Granted::default();
        let (first, second) = (granted.take().unwrap(), granted.take().unwrap());
        assert_ne!(first, second);
        let rate = Rate { ingress: Limit { class: first, ..Limit::default() }, ..Rate::default() };
        assert_eq!(granted.give_back(&rate), [first]);
        assert_eq!(granted.take().unwrap(), first);
    }
}

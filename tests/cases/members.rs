//! The list of nodes: who comes, goes, moves, and what a wrong list does.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::fabric::{self, Fabric, Layout, Member, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::traffic::ping::{self, Steady};
use weft_tests::{exec, kernel, on_both_routings, on_every_fabric, wait};

on_every_fabric!(a_node_that_comes_goes_and_moves_disturbs_nobody_else);
on_both_routings!(
    a_bad_list_keeps_the_last_good_one_and_says_so,
    overlapping_ranges_are_named,
    a_list_that_is_there_later_is_read,
    five_thousand_nodes_are_known_soon,
);

const SOON: Duration = Duration::from_secs(3);

/// Every sentence of `weft status` about what is wrong.
fn problems(member: &Member) -> Result<Vec<String>> {
    let status = member.weft(&["status"])?;
    let problems = status["problems"].as_array().context("no list of problems")?;
    Ok(problems.iter().filter_map(|one| one.as_str()).map(str::to_owned).collect())
}

/// Names of the peers that a node knows.
fn known(member: &Member) -> Result<Vec<String>> {
    let peers = member.weft(&["peer", "list"])?;
    let peers = peers.as_array().context("no list of peers")?;
    Ok(peers.iter().filter_map(|peer| peer["name"].as_str()).map(str::to_owned).collect())
}

fn a_node_that_comes_goes_and_moves_disturbs_nobody_else(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach))?;
    let pods = fabric.pods()?;
    let [first, second, third] = [1, 2, 3].map(|number| fabric.member(number));
    let everyone = fabric.others(first);
    let without_third = &everyone[..1];
    for family in Family::BOTH {
        ping::must_reach(pods[0].netns(), pods[1].address(family)?)?;
        ping::must_reach(pods[0].netns(), pods[2].address(family)?)?;
    }
    let others: Vec<Steady> = Family::BOTH
        .iter()
        .map(|family| Steady::start(pods[0].netns(), pods[1].address(*family)?, Duration::from_millis(2)))
        .collect::<Result<_>>()?;
    let target = pods[2].address(Family::V4)?;
    let hears = || ping::ping(pods[0].netns(), target, 1).map(|report| report.lost() == 0);
    for _ in 0..3 {
        fabric.tell(first, without_third)?;
        wait::until("n3 is forgotten", SOON, || Ok(known(first)? == ["n2"]))?;
        ensure!(!hears()?, "a pod of a node that is no peer answers");
        fabric.tell(first, &everyone)?;
        let took = wait::until("n3 is known", SOON, || Ok(known(first)?.len() == 2))?;
        ensure!(hears()?, "a peer that came {took:?} ago does not answer");
    }
    // It vanishes and returns with another address.
    move_to(third, "192.0.2.43", "2001:db8::43")?;
    let mut moved = everyone.clone();
    moved[1].addresses = vec!["192.0.2.43".parse()?, "2001:db8::43".parse()?];
    fabric.tell(first, &moved)?;
    let mut to_second = fabric.others(second);
    to_second[1].addresses.clone_from(&moved[1].addresses);
    fabric.tell(second, &to_second)?;
    for family in Family::BOTH {
        let target = pods[2].address(family)?;
        wait::until("n3 answers at its other address", SOON, || {
            ping::ping(pods[0].netns(), target, 1).map(|report| report.lost() == 0)
        })?;
        ping::must_reach(pods[2].netns(), pods[0].address(family)?)?;
    }
    for other in others {
        let report = other.stop()?;
        ensure!(report.lost() == 0, "{} of {} packets between others were lost", report.lost(), report.sent);
    }
    Ok(())
}

/// Gives a node other addresses on its uplink.
fn move_to(member: &Member, v4: &str, v6: &str) -> Result<()> {
    let netns = member.node().netns();
    kernel::set_sysctl(netns, "net/ipv4/conf/all/promote_secondaries", "1")?;
    let device = Member::UPLINK;
    let [old4, old6] = Family::BOTH.map(|family| member.address(family));
    let [via4, via6] = Family::BOTH.map(|family| member.gateway(family));
    exec::ip_batch(
        netns,
        &[
            &format!("addr add {v4}/24 dev {device}"),
            &format!("addr add {v6}/64 dev {device} nodad"),
            &format!("addr del {old4}/24 dev {device}"),
            &format!("addr del {old6}/64 dev {device}"),
            &format!("route replace default via {via4}"),
            &format!("route replace default via {via6}"),
        ],
    )
}

fn a_bad_list_keeps_the_last_good_one_and_says_so(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach).nodes(2))?;
    let pods = fabric.pods()?;
    let first = fabric.member(1);
    let others = Steady::start(pods[0].netns(), pods[1].address(Family::V4)?, Duration::from_millis(2))?;
    let good = fabric.others(first);
    let mut without_address = good.clone();
    without_address[0].addresses.clear();
    let file = first.peers_file();
    let wrong = [
        ("no TOML", "[[peer]\nname =".to_owned(), "line"),
        ("another key", "[[peer]]\nname = \"n2\"\nport = 1\n".to_owned(), "port"),
        ("no address", fabric::text(&without_address), "n2"),
        ("a range that is none", fabric::text(&good).replace("/24", "/99"), "10.244.2.0/99"),
        ("a node twice", fabric::text(&[good.clone(), good.clone()].concat()), "n2"),
    ];
    for (what, text, named) in wrong {
        fabric::replace(&file, &text)?;
        wait::until(&format!("the status tells of {what}, naming {named:?}"), SOON, || {
            let problems = problems(first)?;
            let told = problems.iter().find(|one| one.contains("peers.toml"));
            Ok(told.is_some_and(|one| one.contains(named)))
        })
        .with_context(|| format!("{:?}", problems(first)))?;
        ensure!(known(first)? == ["n2"], "{what} took the good list away");
        fabric.tell(first, &good)?;
        wait::until("the status is clean again", SOON, || Ok(problems(first)?.is_empty()))?;
    }
    // The file goes away altogether.
    std::fs::remove_file(&file)?;
    wait::until("the status tells of a missing file", SOON, || Ok(!problems(first)?.is_empty()))?;
    ensure!(known(first)? == ["n2"]);
    let report = others.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    Ok(())
}

fn overlapping_ranges_are_named(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach).nodes(3))?;
    let first = fabric.member(1);
    let good = fabric.others(first);
    let mut overlapping = good.clone();
    overlapping[1].pod_cidrs = vec!["10.244.2.128/25".into()];
    let mut own = good.clone();
    own[0].pod_cidrs = vec!["10.244.0.0/16".into()];
    let wrong = [
        (overlapping, ["n2", "n3", "10.244.2.0/24", "10.244.2.128/25"].as_slice()),
        (own, ["n2", "10.244.0.0/16"].as_slice()),
    ];
    for (list, names) in wrong {
        fabric.tell(first, &list)?;
        wait::until("the overlap is named", SOON, || {
            Ok(problems(first)?.iter().any(|one| names.iter().all(|name| one.contains(name))))
        })
        .with_context(|| format!("{names:?} in {:?}", problems(first)))?;
        ensure!(known(first)?.len() == 2);
    }
    Ok(())
}

fn a_list_that_is_there_later_is_read(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::lay(&weft_tests::site::Site::of_tests()?, Layout::new(routing, attach).nodes(2))?;
    let first = fabric.member(1);
    std::fs::remove_file(first.peers_file())?;
    fabric.start_agents()?;
    let pods = fabric.pods()?;
    ensure!(known(first)?.is_empty());
    ensure!(problems(first)?.iter().any(|one| one.contains("peers.toml")), "a missing file is no word worth");
    fabric.tell(first, &fabric.others(first))?;
    for family in Family::BOTH {
        let target = pods[1].address(family)?;
        wait::until("n2 is reached", SOON, || ping::ping(pods[0].netns(), target, 1).map(|one| one.lost() == 0))?;
    }
    Ok(())
}

fn five_thousand_nodes_are_known_soon(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach).nodes(2))?;
    let pods = fabric.pods()?;
    let first = fabric.member(1);
    let steady = Steady::start(pods[0].netns(), pods[1].address(Family::V6)?, Duration::from_millis(2))?;
    let mut text = fabric::text(&fabric.others(first));
    for number in 0..5000_u32 {
        let (high, low) = (number / 250, number % 250);
        // A string never fails to grow.
        let _ = write!(
            text,
            "[[peer]]\nname = \"far{number}\"\naddresses = [\"2001:db8::f:{number:x}\"]\n\
             pod-cidrs = [\"10.{}.{low}.0/24\", \"fd00:f:{number:x}::/64\"]\n",
            100 + high
        );
    }
    fabric::replace(&first.peers_file(), &text)?;
    wait::until("5001 peers are known", Duration::from_secs(20), || Ok(known(first)?.len() == 5001))?;
    let mut entries = 0;
    wait::until("their ranges are in the map", Duration::from_secs(10), || {
        let maps = first.weft(&["map", "list"])?;
        let peers = maps.as_array().and_then(|maps| maps.iter().find(|map| map["name"] == weft_abi::map::PEERS));
        entries = peers.and_then(|map| map["entries"].as_u64()).unwrap_or_default();
        Ok(entries >= 10_002)
    })
    .with_context(|| format!("{entries} entries"))?;
    fabric.tell(first, &fabric.others(first))?;
    wait::until("one peer is known", Duration::from_secs(20), || Ok(known(first)? == ["n2"]))?;
    thread::sleep(Duration::from_millis(50));
    let report = steady.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    Ok(())
}

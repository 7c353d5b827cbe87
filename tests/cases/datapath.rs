//! The agent's datapath on a real kernel, without an agent: devices, peers, tables.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use weft_abi::map;
use weft_agent::datapath::{
    AttachMode, Datapath, DatapathConfig, Device, Home, PeerRange, Tunnel, UplinkDevice, cleanup,
};
use weft_agent::node::Expedite;
use weft_tests::node::{Attach, Node, Settings};
use weft_tests::{exec, on_both_attachments};

on_both_attachments!(
    devices_are_followed,
    a_relay_is_no_uplink,
    a_device_that_was_made_anew_is_served_again,
    nothing_is_left_behind
);

fn load(node: &Node, attach: Attach, flow_table_size: u32) -> Result<Datapath> {
    let config = DatapathConfig {
        bpf_dir: node.bpf_dir(),
        attach: match attach {
            Attach::Tcx => AttachMode::Tcx,
            Attach::Clsact => AttachMode::Clsact,
        },
        expedite: Expedite::new(true, &node.run_dir()),
        overlay_port: Some(8472),
        host_routing: true,
        flow_table_size,
    };
    node.netns().enter(|| Datapath::load(&config))?.context("load the datapath")
}

/// A node without an agent, with devices of these names.
fn node_with(attach: Attach, devices: &[&str]) -> Result<Node> {
    let node = Node::without_agent(Settings::new(attach))?;
    for device in devices {
        add(&node, device)?;
    }
    Ok(node)
}

fn add(node: &Node, device: &str) -> Result<()> {
    exec::ip_batch(node.netns(), &[&format!("link add {device} type veth peer name {device}-peer")])
}

fn index(node: &Node, device: &str) -> Result<u32> {
    let path = format!("/sys/class/net/{device}/ifindex");
    let links = exec::tool_in(node.netns(), "ip", &["-o", "link", "show", "dev", device]).context(path)?;
    Ok(links.split(':').next().context("no index")?.parse()?)
}

fn uplink(node: &Node, name: &str) -> Result<UplinkDevice> {
    let v4 = Some([192, 0, 2, 1].into());
    Ok(UplinkDevice { name: name.to_owned(), index: index(node, name)?, v4, v6: None })
}

/// Numbers of the programs at ingress and egress of a device, whichever way they are attached.
fn programs(node: &Node, attach: Attach, device: &str) -> Result<Vec<String>> {
    match attach {
        Attach::Tcx => {
            let links = node.pins().join("links");
            let names = fs::read_dir(&links)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            let mut names: Vec<String> = names.filter(|name| name.starts_with(&format!("{device}_"))).collect();
            names.sort();
            Ok(names)
        }
        Attach::Clsact => {
            let mut found = Vec::new();
            for side in ["ingress", "egress"] {
                let filters = exec::tool_in(node.netns(), "tc", &["filter", "show", "dev", device, side])?;
                found.extend(filters.split_whitespace().filter(|word| word.starts_with("weft_")).map(str::to_owned));
            }
            found.sort();
            found.dedup();
            Ok(found)
        }
    }
}

fn named(attach: Attach, device: &str, hooks: &[&str]) -> Vec<String> {
    let name = |hook: &&str| match attach {
        Attach::Tcx => format!("{device}_{hook}"),
        Attach::Clsact => format!("weft_{hook}"),
    };
    hooks.iter().map(name).collect()
}

const UPLINK: [&str; 2] = ["from_netdev", "to_netdev"];
const OVERLAY: [&str; 2] = ["from_overlay", "to_overlay"];

fn entries(node: &Node, name: &str) -> Result<Vec<(u32, [u8; 32])>> {
    let map = Map::from_map_data(MapData::from_pin(node.pins().join(name))?)?;
    let map = HashMap::<_, u32, [u8; 32]>::try_from(map)?;
    Ok(map.iter().collect::<Result<_, _>>()?)
}

fn devices_are_followed(attach: Attach) -> Result<()> {
    let node = node_with(attach, &["up0", "up1", "vx"])?;
    let datapath = load(&node, attach, 1024)?;
    let set = |datapath: &Datapath, uplinks: &[&str], overlay: bool| -> Result<()> {
        let uplinks: Vec<_> = uplinks.iter().map(|name| uplink(&node, name)).collect::<Result<_>>()?;
        let overlay = overlay.then(|| index(&node, "vx")).transpose()?.map(|index| Device { name: "vx", index });
        Ok(node.netns().enter(|| datapath.set_devices(&uplinks, overlay, None))??)
    };
    set(&datapath, &["up0"], true)?;
    assert_eq!(programs(&node, attach, "up0")?, named(attach, "up0", &UPLINK));
    assert_eq!(programs(&node, attach, "vx")?, named(attach, "vx", &OVERLAY));
    let [(number, value)] = entries(&node, map::UPLINKS)?[..] else { anyhow::bail!("one uplink expected") };
    assert_eq!((number, &value[12..16]), (index(&node, "up0")?, &[192, 0, 2, 1][..]));

    // A restart takes over; the pods' sweep leaves uplinks alone, before and after they are named.
    drop(datapath);
    let datapath = load(&node, attach, 1024)?;
    node.netns().enter(|| datapath.sweep(&[]))??;
    assert_eq!(programs(&node, attach, "up0")?, named(attach, "up0", &UPLINK));
    set(&datapath, &["up0", "up1"], true)?;
    set(&datapath, &["up0", "up1"], true)?;
    node.netns().enter(|| datapath.sweep(&[]))??;
    for device in ["up0", "up1"] {
        assert_eq!(programs(&node, attach, device)?, named(attach, device, &UPLINK));
    }

    // What the next agent does not know any more goes.
    drop(datapath);
    let datapath = load(&node, attach, 1024)?;
    set(&datapath, &["up1"], false)?;
    assert!(programs(&node, attach, "up0")?.is_empty() && programs(&node, attach, "vx")?.is_empty());
    assert_eq!(programs(&node, attach, "up1")?, named(attach, "up1", &UPLINK));
    set(&datapath, &[], false)?;
    assert!(programs(&node, attach, "up1")?.is_empty());
    assert!(entries(&node, map::UPLINKS)?.is_empty());
    let qdiscs = exec::tool_in(node.netns(), "tc", &["qdisc", "show"])?;
    // No cgroup serves this node's sockets, so the program at `lo` does, and stays.
    assert_eq!(programs(&node, attach, "lo")?, named(attach, "lo", &["from_loopback"]));
    let left = qdiscs.lines().find(|line| line.contains("clsact") && !line.contains("dev lo "));
    ensure!(left.is_none(), "a queueing discipline of ours is left: {qdiscs}");
    Ok(())
}

fn a_relay_is_no_uplink(attach: Attach) -> Result<()> {
    let node = node_with(attach, &["up0", "relay"])?;
    let uplinks = [uplink(&node, "up0")?];
    let relay = Device { name: "relay", index: index(&node, "relay")? };
    let set = |datapath: &Datapath, relay| -> Result<()> {
        node.netns().enter(|| datapath.set_devices(&uplinks, None, relay))??;
        node.netns().enter(|| datapath.sweep(&[]))??;
        let known: Vec<_> = entries(&node, map::UPLINKS)?.iter().map(|(index, _)| *index).collect();
        ensure!(known == [uplinks[0].index], "uplinks are {known:?}");
        ensure!(programs(&node, attach, "up0")? == named(attach, "up0", &UPLINK), "the uplink lost a program");
        Ok(())
    };
    // Another agent takes over what it finds, whichever way it is attached.
    for _ in 0..2 {
        let datapath = load(&node, attach, 1024)?;
        for _ in 0..2 {
            set(&datapath, Some(relay))?;
            assert_eq!(programs(&node, attach, "relay")?, named(attach, "relay", &UPLINK[..1]));
        }
    }
    set(&load(&node, attach, 1024)?, None)?;
    assert!(programs(&node, attach, "relay")?.is_empty());
    Ok(())
}

fn a_device_that_was_made_anew_is_served_again(attach: Attach) -> Result<()> {
    let node = node_with(attach, &["up0"])?;
    let datapath = load(&node, attach, 1024)?;
    let old = uplink(&node, "up0")?;
    node.netns().enter(|| datapath.set_devices(std::slice::from_ref(&old), None, None))??;
    exec::ip_batch(node.netns(), &["link del up0"])?;
    add(&node, "up0")?;
    let new = uplink(&node, "up0")?;
    assert_ne!(old.index, new.index);
    let stale = node.netns().enter(|| datapath.set_devices(&[old], None, None))?;
    assert!(stale.is_err(), "a device that is gone was served");
    node.netns().enter(|| datapath.set_devices(std::slice::from_ref(&new), None, None))??;
    assert_eq!(programs(&node, attach, "up0")?, named(attach, "up0", &UPLINK));
    assert_eq!(entries(&node, map::UPLINKS)?.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [new.index]);
    Ok(())
}

fn nothing_is_left_behind(attach: Attach) -> Result<()> {
    let node = node_with(attach, &["up0"])?;
    let datapath = load(&node, attach, 1024)?;
    let uplinks = [uplink(&node, "up0")?];
    node.netns().enter(|| datapath.set_devices(&uplinks, None, None))??;
    drop(datapath);
    let errors = node.netns().enter(|| cleanup(&node.bpf_dir(), &[], &Expedite::new(true, &node.run_dir())))?;
    assert!(errors.is_empty(), "{errors:?}");
    assert!(!node.bpf_dir().exists());
    let filters = exec::tool_in(node.netns(), "tc", &["filter", "show", "dev", "up0", "ingress"])?;
    assert!(!filters.contains("weft"), "{filters}");
    Ok(())
}

fn ranges(count: u32) -> Vec<PeerRange> {
    let peer = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        let address = IpAddr::from([192, 0, b, c]);
        let home = Home::Node { address, tunnel: Some(Tunnel { device: 7, vni: 1, mtu: 1450 }) };
        let v4 = format!("10.{b}.{c}.0/24").parse().map(|range| PeerRange { range, home });
        let v6 = format!("fd00:{a:x}:{b:x}:{c:x}::/64").parse().map(|range| PeerRange { range, home });
        [v4, v6]
    };
    (0..count).flat_map(peer).flatten().collect()
}

#[test]
fn thousands_of_peers_are_quick_and_only_differences_are_written() -> Result<()> {
    let node = node_with(Attach::preferred(), &[])?;
    let datapath = load(&node, Attach::preferred(), 1024)?;
    let all = ranges(5000);
    let begun = Instant::now();
    // Two ranges each, and the address of the node.
    assert_eq!(datapath.set_peers(&all)?, 15_000);
    let took = begun.elapsed();
    // The target is 100 ms on a quiet machine; tests run side by side.
    ensure!(took < Duration::from_secs(3), "5000 peers took {took:?}");
    assert_eq!(datapath.set_peers(&all)?, 0);
    let mut fewer = all[2..].to_vec();
    fewer[0].home = Home::Local;
    assert_eq!(datapath.set_peers(&fewer)?, 4);
    assert_eq!(datapath.set_peers(&[])?, 14_997);
    assert_eq!(datapath.set_exempt(&["10.0.0.0/8".parse()?, "fd00::/8".parse()?])?, 2);
    assert_eq!(datapath.set_exempt(&["10.0.0.0/8".parse()?])?, 1);
    Ok(())
}

type Table = HashMap<MapData, [u8; 40], [u8; 40]>;

fn flows(pin: &Path) -> Result<Table> {
    Ok(Table::try_from(Map::from_map_data(MapData::from_pin(pin)?)?)?)
}

#[test]
fn flows_move_into_a_table_of_another_size() -> Result<()> {
    let node = node_with(Attach::preferred(), &[])?;
    drop(load(&node, Attach::preferred(), 1024)?);
    let pin = node.pins().join(map::FLOWS);
    let mut table = flows(&pin)?;
    for number in 0..500_u32 {
        let mut key = [0; 40];
        key[..4].copy_from_slice(&number.to_ne_bytes());
        table.insert(key, [7; 40], 0)?;
    }
    let datapath = load(&node, Attach::preferred(), 4096)?;
    assert_eq!(flows(&pin)?.keys().count(), 500);
    // A program that is not swapped yet goes on writing into the old one.
    table.insert([1; 40], [8; 40], 0)?;
    node.netns().enter(|| datapath.sweep(&[]))??;
    node.netns().enter(|| datapath.set_devices(&[], None, None))??;
    assert_eq!(flows(&pin)?.get(&[1; 40], 0)?, [8; 40]);
    assert!(!node.pins().join("flows_old").exists() && !node.pins().join("nat_old").exists());
    drop(load(&node, Attach::preferred(), 4096)?);
    assert_eq!(flows(&pin)?.keys().count(), 501);
    // Into too small a one as much as fits.
    drop(load(&node, Attach::preferred(), 256)?);
    let left = flows(&pin)?.keys().count();
    ensure!((1..=256).contains(&left), "{left} entries in a table of 256");
    Ok(())
}

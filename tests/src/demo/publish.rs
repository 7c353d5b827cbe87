//! A pod with a port of the node and a limit.

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::screen::Screen;
use super::stage::Stage;
use super::{STOP, web};
use crate::daemon::Daemon;
use crate::netns::Netns;
use crate::node::{Family, Uplink};
use crate::pod::{Pod, Sandbox};
use crate::publish::{loopback, mapping};
use crate::traffic::meet::Tcp;
use crate::traffic::stream;

/// What the shop says; the braces become the client's address as the server sees it.
const PAGE: &str = "hello, {}\n";
/// The port of the node that is the shop's.
const HOST_PORT: u16 = 8080;
/// Bits a second that the shop may send.
const LIMIT: u32 = 50_000_000;
/// Bytes that it sends to show it.
const BYTES: u32 = 4 << 20;

impl Stage {
    /// A port of the node from everywhere, and a pod that may send only so much.
    pub(super) fn publish(&self, screen: &Screen) -> Result<()> {
        screen.part("A pod with a port of the node and a limit: hostPort 8080, 50 Mbit/s out");
        let site = self.node.site();
        let mut sandbox = Sandbox::named(Arc::clone(site), &format!("{}-shop", site.name()))?;
        sandbox.attachment.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=shop".into();
        let shop = screen.step("shop  ", || {
            let wishes = json!({
                "portMappings": [mapping(HOST_PORT, web::PORT, "tcp")],
                "bandwidth": { "egressRate": LIMIT },
            });
            let pod = Pod::attach_as(&self.node, &self.node.network().offering(wishes), sandbox)?;
            let detail = format!("{}  {}", pod.address(Family::V4)?, pod.address(Family::V6)?);
            Ok((pod, detail))
        })?;
        let mut command = Command::new(env::current_exe().context("find this program")?);
        let log = site.dir().join("shop.log");
        let mut server = Daemon::spawn(site, shop.netns(), command.args(["--serve", PAGE]), &log)?;
        let node: IpAddr = "192.0.2.1".parse()?;
        let asked: [(&str, &Netns, IpAddr, Option<IpAddr>); 5] = [
            ("the world", self.world.world(), node, Some(Uplink::WORLD_V4.parse()?)),
            ("client", self.client.netns(), node, Some(self.client.address(Family::V4)?)),
            ("the node", self.node.netns(), loopback(Family::V4), None),
            ("the node", self.node.netns(), loopback(Family::V6), None),
            ("shop itself", shop.netns(), node, None),
        ];
        for (who, netns, address, due) in asked {
            let from = SocketAddr::new(address, HOST_PORT);
            screen.step(&format!("{who} fetches http://{from}/"), || {
                let page = web::fetch_soon(netns, from)?;
                let seen = page.trim_end().strip_prefix("hello, ").context("another page came")?;
                ensure!(due.is_none_or(|due| due.to_string() == seen), "the server saw {seen}, {due:?} was due");
                Ok(((), format!("seen as {seen}")))
            })?;
        }
        self.weft(screen, &["port", "list"])?;
        self.hold_back(screen, &shop)?;
        server.end(STOP)?;
        screen.step("shop is detached: its port is the node's again", || {
            shop.del(&self.node)?;
            let refused = self.node.netns().enter(|| stream::connect((loopback(Family::V4), HOST_PORT).into()))?;
            ensure!(refused.is_err(), "somebody still answers");
            Ok(((), String::new()))
        })
    }

    /// Bytes out of the limited pod, to its neighbour and to the world.
    fn hold_back(&self, screen: &Screen, shop: &Pod) -> Result<()> {
        let places = [
            ("client", self.client.netns(), self.client.address(Family::V4)?),
            ("the world", self.world.world(), Uplink::WORLD_V4.parse()?),
        ];
        for (who, netns, address) in places {
            screen.step(&format!("shop sends {} MiB to {who}", BYTES >> 20), || {
                let listener = Tcp::listen(netns, address)?;
                let (near, far, _) = listener.pair(shop.netns(), None, listener.address())?;
                let took = stream::one_way_on(&near, &far, usize::try_from(BYTES)?)?;
                let rate = f64::from(BYTES) * 8.0 / took.as_secs_f64() / 1e6;
                ensure!((30.0..60.0).contains(&rate), "{rate:.1} Mbit/s");
                Ok(((), format!("{rate:.1} Mbit/s")))
            })?;
        }
        self.weft(screen, &["endpoint", "list"])
    }
}

//! What a fabric is to look like.

use crate::node::{Attach, Family};

/// How pods' packets get to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// VXLAN.
    Overlay,
    /// The nodes' and the network's own routes.
    Native,
}

impl Routing {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Overlay, Self::Native];

    /// The word of the agent's flag.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Native => "native",
        }
    }
}

/// The shape of a fabric.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Nodes, counted from 1.
    pub nodes: u8,
    /// `--routing`.
    pub routing: Routing,
    /// `--attach`; the agent's own choice if there is none.
    pub attach: Option<Attach>,
    /// Addresses by which nodes know each other; both families unless told.
    pub underlay: Vec<Family>,
    /// Whether the last node is on a link of its own behind the router.
    pub far: bool,
    /// Whether the first node has a second uplink.
    pub second_uplink: bool,
    /// MTU of the link between router and world, in bytes.
    pub world_mtu: u32,
    /// Whether agents see a cgroup v2 hierarchy.
    pub cgroups: bool,
    /// Where the nodes' API server is; standalone agents with peers files if there is none.
    pub api_server: Option<String>,
    /// Further flags of every agent.
    pub flags: Vec<String>,
}

impl Layout {
    /// Three nodes on one link.
    pub fn new(routing: Routing, attach: impl Into<Option<Attach>>) -> Self {
        Self {
            nodes: 3,
            routing,
            attach: attach.into(),
            underlay: Family::BOTH.to_vec(),
            far: false,
            second_uplink: false,
            world_mtu: 1500,
            cgroups: true,
            api_server: None,
            flags: Vec::new(),
        }
    }

    /// With that many nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// With peers known by addresses of this family alone.
    #[must_use]
    pub fn underlay(mut self, family: Family) -> Self {
        self.underlay = vec![family];
        self
    }

    /// With the last node behind the router.
    #[must_use]
    pub fn far(mut self) -> Self {
        self.far = true;
        self
    }

    /// With a second uplink on the first node.
    #[must_use]
    pub fn second_uplink(mut self) -> Self {
        self.second_uplink = true;
        self
    }

    /// With a smaller link behind the router.
    #[must_use]
    pub fn world_mtu(mut self, mtu: u32) -> Self {
        self.world_mtu = mtu;
        self
    }

    /// On machines without cgroups of version 2.
    #[must_use]
    pub fn without_cgroups(mut self) -> Self {
        self.cgroups = false;
        self
    }

    /// With agents that learn everything from an API server.
    #[must_use]
    pub fn api_server(mut self, url: &str) -> Self {
        self.api_server = Some(url.to_owned());
        self
    }

    /// With one more flag for every agent.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }
}

/// A test function for each routing and way of attaching: `fn(Routing, Attach) -> anyhow::Result<()>`.
#[macro_export]
macro_rules! on_every_fabric {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use $crate::fabric::Routing;
            use $crate::node::Attach;

            #[test]
            fn overlay_tcx() -> anyhow::Result<()> {
                super::$name(Routing::Overlay, Attach::Tcx)
            }

            #[test]
            fn overlay_clsact() -> anyhow::Result<()> {
                super::$name(Routing::Overlay, Attach::Clsact)
            }

            #[test]
            fn native_tcx() -> anyhow::Result<()> {
                super::$name(Routing::Native, Attach::Tcx)
            }

            #[test]
            fn native_clsact() -> anyhow::Result<()> {
                super::$name(Routing::Native, Attach::Clsact)
            }
        }
    )+};
}

/// A test function for each routing, attached as the kernel likes it best: `fn(Routing, Attach) -> anyhow::Result<()>`.
#[macro_export]
macro_rules! on_both_routings {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use $crate::fabric::Routing;
            use $crate::node::Attach;

            #[test]
            fn overlay() -> anyhow::Result<()> {
                super::$name(Routing::Overlay, Attach::preferred())
            }

            #[test]
            fn native() -> anyhow::Result<()> {
                super::$name(Routing::Native, Attach::preferred())
            }
        }
    )+};
}

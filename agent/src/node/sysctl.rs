//! The node's sysctls: forwarding, without losing the route that router advertisements gave it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::NodeError;

/// Where they are set: `sys/net` below the process file system, or below where it is mounted writable.
#[derive(Clone, Debug)]
pub(super) struct Sysctls {
    root: Arc<Path>,
}

impl Sysctls {
    pub(super) fn below(proc_dir: &Path) -> Self {
        Self { root: proc_dir.join("sys/net").into() }
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Turns forwarding on for the families of the pools.
    ///
    /// A host that forwards ignores router advertisements unless `accept_ra` is 2 (kernel documentation,
    /// `networking/ip-sysctl`), so devices that listened to them before go on listening.
    pub(super) fn forward(&self, pools: &[IpNet]) -> Result<(), NodeError> {
        if pools.iter().any(|pool| pool.addr().is_ipv4()) {
            set(self.path("ipv4/ip_forward"), "1")?;
        }
        let all = self.path("ipv6/conf/all/forwarding");
        if pools.iter().any(|pool| pool.addr().is_ipv6()) && !holds(&all, "1") {
            keep_router_advertisements(&self.path("ipv6/conf"))?;
            set(all, "1")?;
        }
        Ok(())
    }

    /// Has a device do without the strict reverse path filter (1); the loose one (2) is the least that the kernel takes
    /// where all devices have the strict one.
    pub(super) fn loosen(&self, device: &str) -> Result<(), NodeError> {
        let own = self.path("ipv4/conf").join(device).join("rp_filter");
        for strict in [&self.path("ipv4/conf/all/rp_filter"), &own] {
            if holds(strict, "1") {
                set(own.clone(), "2")?;
            }
        }
        Ok(())
    }

    /// Has the loopback device take packets from the node's own addresses that came to it by another way than the
    /// stack.
    pub(super) fn accept_local(&self) -> Result<(), NodeError> {
        set(self.path("ipv4/conf/lo/accept_local"), "1")
    }

    /// Refuses a pool of IPv6 where devices are born without IPv6.
    pub(super) fn refuse_missing_ipv6(&self, pools: &[IpNet]) -> Result<(), NodeError> {
        let Some(pool) = pools.iter().copied().find(|pool| pool.addr().is_ipv6()) else { return Ok(()) };
        let remedy = match fs::read_to_string(self.path("ipv6/conf/default/disable_ipv6")) {
            Ok(value) if value.trim() == "0" => return Ok(()),
            Ok(_) => "sysctl -w net.ipv6.conf.default.disable_ipv6=0",
            Err(_) => "modprobe ipv6",
        };
        Err(NodeError::NoIpv6 { pool, remedy })
    }
}

fn keep_router_advertisements(conf: &Path) -> Result<(), NodeError> {
    let devices = fs::read_dir(conf).map_err(|source| cannot(conf.to_owned(), "2", source))?;
    for device in devices.flatten() {
        let accept_ra = device.path().join("accept_ra");
        if holds(&accept_ra, "1") {
            match fs::write(&accept_ra, "2") {
                // The device went away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|source| cannot(accept_ra, "2", source))?,
            }
        }
    }
    Ok(())
}

/// Sets what does not hold the value yet.
pub(super) fn set(path: PathBuf, value: &'static str) -> Result<(), NodeError> {
    if holds(&path, value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(|source| cannot(path, value, source))
}

/// Whether the file holds the value.
pub(super) fn holds(path: &Path, value: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
}

fn cannot(path: PathBuf, value: &'static str, source: io::Error) -> NodeError {
    NodeError::Sysctl { path, value, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Sysctls) {
        let dir = tempfile::tempdir().unwrap();
        let sysctls = Sysctls::below(dir.path());
        for (name, value) in files {
            let path = sysctls.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }
        (dir, sysctls)
    }

    fn value(sysctls: &Sysctls, name: &str) -> String {
        fs::read_to_string(sysctls.path(name)).unwrap().trim().to_owned()
    }

    #[test]
    fn forwarding_keeps_router_advertisements() {
        let (_dir, root) = tree(&[
            ("ipv4/ip_forward", "0"),
            ("ipv6/conf/all/forwarding", "0"),
            ("ipv6/conf/eth0/accept_ra", "1"),
            ("ipv6/conf/eth1/accept_ra", "0"),
        ]);
        root.forward(&["10.0.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()]).unwrap();
        assert_eq!(value(&root, "ipv4/ip_forward"), "1");
        assert_eq!(value(&root, "ipv6/conf/all/forwarding"), "1");
        assert_eq!(value(&root, "ipv6/conf/eth0/accept_ra"), "2");
        assert_eq!(value(&root, "ipv6/conf/eth1/accept_ra"), "0");
    }

    #[test]
    fn a_family_without_a_pool_is_left_alone() {
        let (_dir, root) = tree(&[("ipv4/ip_forward", "0"), ("ipv6/conf/all/forwarding", "0")]);
        root.forward(&["10.0.0.0/24".parse().unwrap()]).unwrap();
        assert_eq!(value(&root, "ipv6/conf/all/forwarding"), "0");
    }

    #[test]
    fn missing_ipv6_is_named_with_its_remedy() {
        let pools = ["fd00::/64".parse().unwrap()];
        let (_off, off) = tree(&[("ipv6/conf/default/disable_ipv6", "1")]);
        assert!(off.refuse_missing_ipv6(&pools).unwrap_err().to_string().contains("sysctl -w"));
        let (_none, none) = tree(&[]);
        assert!(none.refuse_missing_ipv6(&pools).unwrap_err().to_string().contains("modprobe"));
        let (_on, on) = tree(&[("ipv6/conf/default/disable_ipv6", "0")]);
        on.refuse_missing_ipv6(&pools).unwrap();
    }
}

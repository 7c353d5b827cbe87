//! The environment that a runtime starts a plugin with (section 2, parameters).

use std::ffi::OsString;
use std::path::PathBuf;

use crate::api::AttachmentKey;

/// What the runtime asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

/// A variable is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("missing in the environment: {}", .0.join(", "))]
    Missing(Vec<&'static str>),
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    #[error("CNI_COMMAND is {0:?}: it must be one of ADD, DEL, CHECK, GC, STATUS, VERSION")]
    Command(String),
    #[error("CNI_CONTAINERID is {0:?}: it must start with a letter or digit and go on with letters, digits, _ . -")]
    ContainerId(String),
    #[error("CNI_IFNAME is {0:?}: it must be 1 to 15 bytes without white space, / or :, and no name of the kernel's")]
    Ifname(String),
    #[error("CNI_NETNS is {0:?}: it must be an absolute path")]
    Netns(String),
}

/// The variables, each checked when it is asked for: not every operation needs every one.
#[derive(Clone, Debug)]
pub(crate) struct Environment(Vec<(&'static str, OsString)>);

impl Environment {
    /// Takes the protocol's variables; `variable` looks one up, as [`std::env::var_os`] does.
    ///
    /// An empty variable counts as not set, as in the reference implementation.
    pub(crate) fn new(variable: impl Fn(&'static str) -> Option<OsString>) -> Self {
        let names = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
        let set = |name| Some((name, variable(name).filter(|value| !value.is_empty())?));
        Self(names.into_iter().filter_map(set).collect())
    }

    /// `CNI_COMMAND`.
    pub(crate) fn operation(&self) -> Result<Operation, EnvError> {
        match self.required("CNI_COMMAND")?.as_str() {
            "ADD" => Ok(Operation::Add),
            "DEL" => Ok(Operation::Del),
            "CHECK" => Ok(Operation::Check),
            "GC" => Ok(Operation::Gc),
            "STATUS" => Ok(Operation::Status),
            "VERSION" => Ok(Operation::Version),
            other => Err(EnvError::Command(other.to_owned())),
        }
    }

    /// `CNI_CONTAINERID` and `CNI_IFNAME`.
    pub(crate) fn attachment(&self) -> Result<AttachmentKey, EnvError> {
        self.all_present(&["CNI_CONTAINERID", "CNI_IFNAME"])?;
        let container_id = self.required("CNI_CONTAINERID")?;
        let ifname = self.required("CNI_IFNAME")?;
        if !is_identifier(&container_id) {
            return Err(EnvError::ContainerId(container_id));
        }
        if !is_ifname(&ifname) {
            return Err(EnvError::Ifname(ifname));
        }
        Ok(AttachmentKey { container_id, ifname })
    }

    /// `CNI_CONTAINERID`, `CNI_IFNAME` and `CNI_NETNS`, as ADD and CHECK need them.
    pub(crate) fn sandboxed(&self) -> Result<(AttachmentKey, String), EnvError> {
        self.all_present(&["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])?;
        let key = self.attachment()?;
        let netns = self.required("CNI_NETNS")?;
        if netns.starts_with('/') { Ok((key, netns)) } else { Err(EnvError::Netns(netns)) }
    }

    /// `CNI_ARGS`, empty when it is not set.
    pub(crate) fn args(&self) -> Result<String, EnvError> {
        Ok(self.optional("CNI_ARGS")?.unwrap_or_default())
    }

    /// The directories of `CNI_PATH`; needed only by who delegates.
    pub(crate) fn plugin_path(&self) -> Result<Vec<PathBuf>, EnvError> {
        let path = self.get("CNI_PATH").ok_or_else(|| EnvError::Missing(vec!["CNI_PATH"]))?;
        Ok(std::env::split_paths(path).filter(|dir| !dir.as_os_str().is_empty()).collect())
    }

    fn all_present(&self, names: &[&'static str]) -> Result<(), EnvError> {
        let missing: Vec<_> = names.iter().copied().filter(|name| self.get(name).is_none()).collect();
        if missing.is_empty() { Ok(()) } else { Err(EnvError::Missing(missing)) }
    }

    fn required(&self, name: &'static str) -> Result<String, EnvError> {
        self.optional(name)?.ok_or_else(|| EnvError::Missing(vec![name]))
    }

    fn optional(&self, name: &'static str) -> Result<Option<String>, EnvError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.to_str().map(|text| Some(text.to_owned())).ok_or(EnvError::NotUtf8(name))
    }

    fn get(&self, name: &str) -> Option<&OsString> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Whether it is a container's id or a network's name: `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, to the last byte.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Whether the kernel takes it as an interface's name; `all` and `default` are its names in sysctls.
fn is_ifname(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !matches!(name, "." | ".." | "all" | "default")
        // 0x0b and 0xa0 are white space to the kernel, too.
        && !name.bytes().any(|byte| b"/:\x0b\xa0\0".contains(&byte) || byte.is_ascii_whitespace())
        && !name.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;

    fn with<T>(vars: &[(&str, &str)], read: impl Fn(&Environment) -> T) -> T {
        read(&Environment::new(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())))
    }

    #[test]
    fn operations_are_known_by_their_exact_name() {
        assert_eq!(with(&[("CNI_COMMAND", "STATUS")], Environment::operation), Ok(Operation::Status));
        for command in ["add", "ADD ", "UPDATE"] {
            let error = with(&[("CNI_COMMAND", command)], Environment::operation).unwrap_err();
            assert!(error.to_string().starts_with("CNI_COMMAND is "), "{error}");
        }
        assert_eq!(with(&[("CNI_COMMAND", "")], Environment::operation), Err(EnvError::Missing(vec!["CNI_COMMAND"])));
    }

    #[test]
    fn every_missing_variable_is_named() {
        let error = with(&[("CNI_IFNAME", "eth0")], Environment::sandboxed).unwrap_err();
        assert_eq!(error, EnvError::Missing(vec!["CNI_CONTAINERID", "CNI_NETNS"]));
        assert_eq!(error.to_string(), "missing in the environment: CNI_CONTAINERID, CNI_NETNS");
    }

    #[test]
    fn container_ids_are_matched_to_the_end() {
        for id in ["a", "0a", "A_b.c-d", &"f".repeat(300)] {
            assert!(is_identifier(id), "{id}");
        }
        for id in ["", "abc\n", "-a", ".a", "_a", "a b", "a/b", "ä", "a\0"] {
            assert!(!is_identifier(id), "{id:?}");
        }
    }

    #[test]
    fn interface_names_are_the_kernels() {
        for name in ["eth0", "a", "fifteen-bytes-x", "net1.100", "ü", "..."] {
            assert!(is_ifname(name), "{name}");
        }
        for name in
            ["", ".", "..", "sixteen-bytes-xy", "a/b", "a:b", "a b", "a\n", "a\x0b", "all", "default", "a\u{a0}"]
        {
            assert!(!is_ifname(name), "{name:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_utf8_is_named() {
        let variable = |_: &str| Some(OsString::from_vec(vec![b'a', 0xff]));
        assert_eq!(Environment::new(variable).operation(), Err(EnvError::NotUtf8("CNI_COMMAND")));
        assert_eq!(Environment::new(variable).args(), Err(EnvError::NotUtf8("CNI_ARGS")));
    }

    #[test]
    fn the_namespace_is_an_absolute_path() {
        let vars = [("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "run/netns/a")];
        assert_eq!(with(&vars, Environment::sandboxed), Err(EnvError::Netns("run/netns/a".into())));
    }

    #[test]
    fn the_plugin_path_is_a_list() {
        let dirs = with(&[("CNI_PATH", "/opt/cni/bin::/usr/lib/cni")], Environment::plugin_path).unwrap();
        assert_eq!(dirs, [PathBuf::from("/opt/cni/bin"), PathBuf::from("/usr/lib/cni")]);
        assert_eq!(with(&[], Environment::plugin_path), Err(EnvError::Missing(vec!["CNI_PATH"])));
    }

    proptest! {
        #[test]
        fn no_environment_is_a_surprise(values: Vec<(u8, Vec<u8>)>) {
            let names = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS", "CNI_PATH"];
            let variable = |name: &'static str| {
                let index = names.iter().position(|known| *known == name).unwrap_or_default();
                values.iter().find(|(i, _)| usize::from(*i) % names.len() == index)
                    .map(|(_, value)| OsString::from_vec(value.clone()))
            };
            let environment = Environment::new(variable);
            let _ = environment.operation();
            let _ = environment.plugin_path();
            if let Ok((key, netns)) = environment.sandboxed() {
                prop_assert!(is_identifier(&key.container_id) && key.ifname.len() < 16 && netns.starts_with('/'));
            }
        }
    }
}

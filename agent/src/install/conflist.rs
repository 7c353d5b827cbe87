//! The network's configuration, and those of others that a container runtime finds beside it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use weft_cni::api::DEFAULT_SOCKET;

/// Its name: container runtimes take the first in the order of bytes.
pub(crate) const NAME: &str = "05-weft.conflist";
/// The plugin's.
pub(crate) const PLUGIN: &str = "weft-cni";

/// The configuration for the agent that listens there.
pub(super) fn text(socket: &Path) -> String {
    let capabilities = json!({ "bandwidth": true, "ips": true, "portMappings": true });
    let mut plugin = json!({ "type": PLUGIN, "capabilities": capabilities });
    if socket != Path::new(DEFAULT_SOCKET) {
        plugin["agentSocket"] = socket.display().to_string().into();
    }
    // Of 1.1.0 a runtime would ask STATUS every few seconds, and an agent that is away for one of them would make the
    // kubelet call its node not ready, whose pods lose nothing by that but their services, and in the end themselves.
    let whole = json!({
        "cniVersion": "1.0.0",
        "name": "weft",
        "plugins": [plugin],
    });
    format!("{whole:#}\n")
}

/// Whether that is a configuration for the agent that listens there.
pub(super) fn is_for(text: &str, socket: &Path) -> bool {
    let Ok(whole) = serde_json::from_str::<Value>(text) else { return false };
    whole["plugins"].as_array().into_iter().flatten().any(|plugin| {
        let named = plugin["agentSocket"].as_str().unwrap_or(DEFAULT_SOCKET);
        plugin["type"] == PLUGIN && Path::new(named) == socket
    })
}

/// What a runtime does with a configuration that it finds before ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    /// It leads to weft: one in which weft-cni is chained, or that delegates to ours.
    Ally,
    /// It is another network's.
    Other,
    /// It is none; containerd stops there.
    Broken,
}

/// Judges what a file holds, as containerd does.
fn judge(name: &OsStr, text: &str) -> Rival {
    if text.contains(PLUGIN) || text.contains(NAME) {
        return Rival::Ally;
    }
    let Ok(Value::Object(whole)) = serde_json::from_str(text) else { return Rival::Broken };
    let is_list = Path::new(name).extension() == Some(OsStr::new("conflist"));
    let complete = if is_list {
        whole.get("plugins").and_then(Value::as_array).is_some_and(|plugins| !plugins.is_empty())
    } else {
        whole.get("type").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
    };
    if complete { Rival::Other } else { Rival::Broken }
}

/// The files that a runtime reads before ours, in its order.
pub(super) fn before_ours(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = configurations(directory)?;
    names.retain(|name| name.as_encoded_bytes() < NAME.as_bytes());
    names.sort();
    Ok(names)
}

/// What is wrong with a file that sorts before ours, as a sentence; nothing if it leads to weft or is gone.
pub(super) fn trouble(directory: &Path, name: &OsStr) -> Option<String> {
    let path = directory.join(name);
    let path = path.display();
    match judge(name, &fs::read_to_string(directory.join(name)).ok()?) {
        Rival::Ally => None,
        Rival::Other => Some(format!(
            "new pods are joined by another plugin: {path} sorts before {NAME}, and the container runtime takes the \
             first: remove it, or rename it to sort behind"
        )),
        Rival::Broken => Some(format!(
            "{path} is no network configuration and sorts before {NAME}: containerd stops at it: remove it"
        )),
    }
}

/// Whether a configuration in the directory, other than ours, needs the plugin.
pub(super) fn others_need_plugin(directory: &Path) -> bool {
    let names = configurations(directory).unwrap_or_default();
    names.iter().filter(|name| *name != NAME).any(|name| {
        let text = fs::read_to_string(directory.join(name)).unwrap_or_default();
        text.contains(PLUGIN)
    })
}

/// Names of the files that runtimes read: hidden ones as well (`ConfFiles` of libcni).
fn configurations(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let extension = Path::new(&name).extension().unwrap_or_default();
        let is_read = ["conf", "conflist", "json"].iter().any(|read| extension == *read);
        if is_read && !entry.file_type()?.is_dir() {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_named_where_it_is_not_the_usual_one() {
        let usual = text(Path::new(DEFAULT_SOCKET));
        assert!(!usual.contains("agentSocket") && is_for(&usual, Path::new(DEFAULT_SOCKET)), "{usual}");
        let other = text(Path::new("/run/other/agent.sock"));
        assert!(is_for(&other, Path::new("/run/other/agent.sock")), "{other}");
        assert!(!is_for(&other, Path::new(DEFAULT_SOCKET)));
        assert!(!is_for("{", Path::new(DEFAULT_SOCKET)));
        assert!(!is_for(r#"{"plugins":[{"type":"bridge"}]}"#, Path::new(DEFAULT_SOCKET)));
    }

    #[test]
    fn the_plugin_takes_the_configuration() {
        let whole: Value = serde_json::from_str(&text(Path::new("/run/x/agent.sock"))).unwrap();
        assert_eq!((&whole["name"], &whole["cniVersion"]), (&json!("weft"), &json!("1.0.0")));
        assert_eq!(whole["cniVersions"], Value::Null, "nobody is to ask STATUS");
        let capabilities = whole["plugins"][0]["capabilities"].as_object().unwrap();
        assert!(capabilities.values().all(|on| *on == json!(true)), "{capabilities:?}");
    }

    #[test]
    fn only_what_a_runtime_reads_first_counts() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["00-a.conf", "04-b.conflist", "05-w.json", "06-c.conf", "00-readme.txt", "01-d.conflist.bak"] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        fs::create_dir(dir.path().join("02-e.conf")).unwrap();
        fs::write(dir.path().join(".hidden.conf"), "{}").unwrap();
        assert_eq!(before_ours(dir.path()).unwrap(), [".hidden.conf", "00-a.conf", "04-b.conflist", "05-w.json"]);
    }

    #[test]
    fn files_are_judged_as_containerd_does() {
        for (name, text, rival) in [
            ("00.conflist", r#"{"name":"x","plugins":[{"type":"bridge"}]}"#, Rival::Other),
            ("00.conflist", r#"{"name":"x","plugins":[]}"#, Rival::Broken),
            ("00.conf", r#"{"name":"x","type":"bridge"}"#, Rival::Other),
            ("00.conf", r#"{"name":"x","plugins":[{"type":"bridge"}]}"#, Rival::Broken),
            ("00.json", "not json", Rival::Broken),
            ("00.conflist", r#"{"name":"x","plugins":[{"type":"bridge"},{"type":"weft-cni"}]}"#, Rival::Ally),
            ("00.conf", r#"{"type":"multus","clusterNetwork":"/etc/cni/net.d/05-weft.conflist"}"#, Rival::Ally),
        ] {
            assert_eq!(judge(OsStr::new(name), text), rival, "{name} {text}");
        }
    }
}

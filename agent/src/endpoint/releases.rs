//! Removals that plugins left while no agent ran.

use std::fs;
use std::rc::Rc;

use weft_cni::link::host_ifname;
use weft_cni::spool::SpoolError;

use crate::kernel::Kernel;
use crate::text;

use super::Endpoints;

impl<K: Kernel> Endpoints<K> {
    /// Does what the spool says, and empties it as far as that went well.
    pub(super) async fn drain_spool(self: &Rc<Self>) {
        let spooled = match self.spool.list() {
            Ok(spooled) => spooled,
            Err(error) => return log::warn!("{}", text::chain(&error)),
        };
        let mut doomed = Vec::new();
        for release in spooled {
            match release {
                Ok(release) => match self.find(&release.key) {
                    Some(record) if release.concerns(&record.boot, record.created_ns) => {
                        doomed.push((host_ifname(&record.key), record));
                    }
                    // Done already, or about an older attachment of the same key.
                    _ => self.forget(&release.key),
                },
                Err(error) => set_aside(&error),
            }
        }
        for (record, outcome) in self.remove_all(doomed).await {
            match outcome {
                Ok(()) => self.forget(&record.key),
                Err(error) => log::warn!("{}", text::chain(&error)),
            }
        }
    }

    fn forget(&self, key: &weft_cni::api::AttachmentKey) {
        if let Err(error) = self.spool.remove(key) {
            log::warn!("{}", text::chain(&error));
        }
    }
}

/// A file that nobody can read is told of once.
fn set_aside(error: &SpoolError) {
    log::warn!("{}", text::chain(error));
    if let SpoolError::Decode { path, .. } = error
        && let Err(error) = fs::rename(path, path.with_extension("json.corrupt"))
    {
        log::warn!("cannot set aside {}: {error}", path.display());
    }
}

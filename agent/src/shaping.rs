//! Limits of endpoints: the shaper's devices and classes on one side, map and programs on the other, brought together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weft_cni::api::{Bandwidth, BandwidthStatus, LimitUse};

use crate::datapath::Datapath;
use crate::endpoint::Endpoint;
use crate::kernel::KernelError;
use crate::node::{Class, Node, NodeError, Shaper, ShaperMode, shaper};
use crate::text;

/// Keeps what limits need.
#[derive(Debug)]
pub(crate) struct Shaping {
    node: Node,
    datapath: Arc<Datapath>,
    mode: ShaperMode,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shaper: Option<Shaper>,
    /// Classes that this process has set, by handle.
    classes: HashMap<u32, Class>,
    problem: Option<String>,
}

impl Shaping {
    /// Makes the shaper. Without one everything else works, and whoever asks for a limit is told why not.
    pub(crate) async fn start(node: Node, datapath: Arc<Datapath>, mode: ShaperMode) -> Self {
        let shaping = Self { node, datapath, mode, state: Mutex::default() };
        if let Err(error) = shaping.begin().await {
            log::warn!("pods cannot be limited: {}", text::chain(&error));
        }
        shaping
    }

    async fn begin(&self) -> Result<(), KernelError> {
        self.mend().await?;
        let shaper = self.shaper()?;
        log::info!("limits are held by {}", shaper.method.name());
        if shaper.method == shaper::Method::Htb {
            // What an agent that died in between has left.
            self.node.retain_classes(shaper, self.datapath.known_classes()?).await?;
        }
        Ok(())
    }

    /// Puts right what somebody changed of the shaper.
    pub(crate) async fn mend(&self) -> Result<(), KernelError> {
        let mended = self.mend_devices().await;
        self.state().problem = mended.as_ref().err().map(|error| text::chain(error));
        mended
    }

    async fn mend_devices(&self) -> Result<(), KernelError> {
        let (shaper, made) = self.node.ensure_shaper(self.mode).await?;
        if made {
            let classes = self.state().classes.values().copied().collect();
            self.node.set_classes(shaper, classes).await?;
        }
        let datapath = Arc::clone(&self.datapath);
        tokio::task::spawn_blocking(move || datapath.set_shaper(shaper)).await??;
        self.state().shaper = Some(shaper);
        Ok(())
    }

    /// Makes all that the endpoint's limits need, before anything is told to obey them.
    pub(crate) async fn grant(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        if endpoint.spec.bandwidth.is_unlimited() {
            return Ok(());
        }
        let shaper = self.shaper()?;
        let classes = self.datapath.grant_rates(endpoint, shaper.method)?;
        self.node.set_classes(shaper, classes.clone()).await?;
        self.state().classes.extend(classes.into_iter().map(|class| (class.handle, class)));
        Ok(())
    }

    /// Removes what the endpoint's limits need no longer, after nothing obeys them any more.
    pub(crate) fn withdraw(&self, endpoint: u32, stay: Bandwidth) -> Result<(), KernelError> {
        let handles = self.datapath.withdraw_rates(endpoint, stay)?;
        let mut state = self.state();
        state.classes.retain(|handle, _| !handles.contains(handle));
        if let Some(shaper) = state.shaper {
            self.node.drop_classes(shaper, handles);
        }
        Ok(())
    }

    /// Compares all that the endpoint's limits need with what there is; the first difference is the error.
    pub(crate) async fn verify(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        if endpoint.spec.bandwidth.is_unlimited() {
            return Ok(());
        }
        let shaper = self.shaper()?;
        let classes = self.datapath.verify_rates(endpoint, shaper.method)?;
        Ok(self.node.verify_classes(shaper, classes).await?)
    }

    /// Removes limits of endpoints that are none of these; how many.
    pub(crate) fn sweep(&self, live: &[Endpoint]) -> Result<usize, KernelError> {
        let stale = self.datapath.stale_rates(live)?;
        stale.iter().try_for_each(|id| self.withdraw(*id, Bandwidth::default()))?;
        Ok(stale.len())
    }

    /// What came of the endpoint's limits.
    pub(crate) fn limit_use(&self, endpoint: u32) -> Result<Option<LimitUse>, KernelError> {
        let shaper = self.state().shaper;
        self.datapath.limit_use(endpoint, |handles| match shaper {
            Some(shaper) => Ok(shaper::class_drops(shaper, handles)?),
            None => Ok(Vec::new()),
        })
    }

    /// What holds limits, and how many pods have some.
    pub(crate) fn status(&self) -> BandwidthStatus {
        let state = self.state();
        let method = state.shaper.map_or("none", |shaper| shaper.method.name());
        let limited = self.datapath.limited().unwrap_or_default();
        BandwidthStatus { method: method.to_owned(), limited: limited as u64, problem: state.problem.clone() }
    }

    fn shaper(&self) -> Result<Shaper, KernelError> {
        let state = self.state();
        let why = || state.problem.clone().unwrap_or_default();
        state.shaper.ok_or_else(|| NodeError::CannotLimit { why: why() }.into())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

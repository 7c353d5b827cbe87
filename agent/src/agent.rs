//! The daemon: from a configuration to a handle, from the handle to the end.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::sys::stat::{Mode, umask};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::api::{App, serve_health, serve_socket};
use crate::config::{Config, NetworkConfig};
use crate::datapath::{Datapath, DatapathConfig, DatapathError, EventStream};
use crate::endpoint::{Endpoints, Identity, RestoreError, StoreError, boot_id};
use crate::flow::{Collector, Parking};
use crate::install::Keeper;
use crate::ipam::Pools;
use crate::kernel::Host;
use crate::monitor::{self, RequestStats, Tracer};
use crate::node::{Expedite, Node, NodeError};
use crate::peer::{Listing, Network, NetworkError, PeersFile, Settings, View};
use crate::run_dir::{Lock, RunDir, RunDirError};
use crate::shaping::Shaping;
use crate::text;

/// How often records and kernel are compared while nothing happens.
const RECONCILE: Duration = Duration::from_secs(30);
/// How long requests may take to end after the agent was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// The agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The run directory cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// This boot has no name.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node cannot be made what the records say.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The programs or maps cannot be brought up.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The node's devices and routes cannot be brought up.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The ways off the node cannot be brought up.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The socket cannot be made.
    #[error("cannot listen on {}{}", path.display(), crate::run_dir::remedy(source))]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Health and metrics cannot be served.
    #[error("cannot listen on {listen}: choose another --listen")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A node's agent that has brought everything up and waits to serve.
pub struct Agent {
    app: Rc<App<Host>>,
    events: EventStream,
    collector: Collector<Datapath>,
    parking: Option<Parking>,
    keeper: Option<Keeper>,
    health: Option<TcpListener>,
    network: Network,
    peers_file: Option<PeersFile>,
    lists: watch::Sender<Listing>,
    run_dir: RunDir,
    _lock: Lock,
}

impl Agent {
    /// Takes the run directory, loads the datapath, prepares the node and makes both what the records say. Runs
    /// inside a [`LocalSet`].
    ///
    /// # Errors
    /// The first step that failed; a running pod's datapath is as it was before or better.
    pub async fn build(config: Config) -> Result<Self, StartError> {
        let started = Instant::now();
        let run_dir = RunDir::new(config.run_dir);
        run_dir.create()?;
        let lock = run_dir.lock()?;
        let health = match config.listen {
            Some(listen) => {
                let bound = TcpListener::bind(listen).await;
                Some(bound.map_err(|source| StartError::Listen { listen, source })?)
            }
            None => None,
        };
        let keeper = config.install.map(|install| Keeper::new(install, &run_dir));
        let boot = boot_id()?;
        let link_group = run_dir.link_group();
        let expedite = Expedite::new(config.expedite_rcu, run_dir.path());
        let datapath = Datapath::load(&DatapathConfig {
            bpf_dir: config.bpf_dir,
            attach: config.attach,
            expedite: expedite.clone(),
            overlay_port: config.network.overlay.map(|overlay| overlay.port),
            host_routing: config.network.host_routing,
            flow_table_size: config.network.flow_table_size,
        })?;
        let node = Node::open(link_group, &expedite, &config.proc_dir)?;
        node.prepare(&config.pod_cidrs).await?;
        let events = datapath.events()?;
        let (datapath, view) = (Arc::new(datapath), Rc::new(View::default()));
        let collector = Collector::new(Arc::clone(&datapath), config.timeouts);
        let parking = Parking::open(Arc::clone(&datapath), node.clone());
        let parking = parking.inspect_err(|error| {
            log::warn!("fragments that come before the first one are lost: {}", text::chain(error));
        });
        let shaping = Rc::new(Shaping::start(node.clone(), Arc::clone(&datapath), config.shaper).await);
        let kernel = Host {
            datapath: Arc::clone(&datapath),
            node: node.clone(),
            shaping: Rc::clone(&shaping),
            network: Rc::clone(&view),
        };
        let identity = Identity { link_group, boot, mtu: config.mtu };
        let endpoints = Rc::new(Endpoints::new(kernel, &run_dir, Pools::new(&config.pod_cidrs), identity));
        endpoints.restore().await?;
        datapath.join_cgroup(config.cgroup.as_deref());
        let (peers_file, lists) = peers(&config.network, &config.node_name, &config.pod_cidrs);
        let settings = Settings { config: config.network, own_ranges: config.pod_cidrs, mtu: config.mtu };
        let network = Network::start(node, datapath, shaping, settings, lists.subscribe(), Rc::clone(&view)).await?;
        let app = Rc::new(App {
            endpoints,
            drops: Rc::default(),
            install: keeper.as_ref().map(Keeper::view).unwrap_or_default(),
            network: view,
            tracer: Tracer::default(),
            flows: collector.report(),
            requests: RequestStats::default(),
            node_name: config.node_name,
            kernel_release: read_line(Path::new("/proc/sys/kernel/osrelease")),
            started,
        });
        Ok(Self {
            app,
            events,
            collector,
            parking: parking.ok(),
            keeper,
            health,
            network,
            peers_file,
            lists,
            run_dir,
            _lock: lock,
        })
    }

    /// Serves until it is told to stop, then ends the requests that run; the datapath stays. `told_to_stop` waits for
    /// the next such word, and the second one ends it at once.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub async fn run(self, tasks: LocalSet, mut told_to_stop: impl AsyncFnMut()) -> Result<(), StartError> {
        let socket = listen(&self.run_dir)?;
        let (stopping, watcher) = watch::channel(false);
        let Self { app, events, collector, parking, keeper, health, network, peers_file, lists, run_dir, _lock } = self;
        let served = Rc::clone(&app);
        tasks
            .run_until(async {
                spawn_local(monitor::watch(events, Rc::clone(&app), watcher.clone()));
                spawn_local(collector.run(watcher.clone()));
                if let Some(parking) = parking {
                    spawn_local(parking.run(watcher.clone()));
                }
                spawn_local(keep_whole(Rc::clone(&app), watcher.clone()));
                spawn_local(network.run(watcher.clone()));
                if let Some(file) = peers_file {
                    spawn_local(file.follow(lists));
                }
                if let Some(listener) = health {
                    spawn_local(serve_health(Rc::clone(&app), listener, watcher.clone()));
                }
                if let Some(keeper) = keeper {
                    // Without Kubernetes whoever has come so far is ready.
                    spawn_local(keeper.run(watch::channel(true).1, watcher.clone()));
                }
                spawn_local(serve_socket(Rc::clone(&app), socket, watcher));
                log::info!("ready after {} ms on {}", app.started.elapsed().as_millis(), run_dir.socket().display());
                notify(&[sd_notify::NotifyState::Ready]);
                told_to_stop().await;
            })
            .await;
        log::info!("stopping: the datapath stays");
        notify(&[sd_notify::NotifyState::Stopping]);
        // Nobody new comes in; a client that finds no socket helps itself.
        if let Err(error) = fs::remove_file(run_dir.socket()) {
            log::warn!("cannot remove {}: {error}", run_dir.socket().display());
        }
        stopping.send_replace(true);
        served.drops.close();
        served.tracer.close();
        tokio::select! {
            drained = timeout(DRAIN, tasks) => if drained.is_err() {
                log::warn!("requests did not end within {} s, leaving them", DRAIN.as_secs());
            },
            () = told_to_stop() => log::warn!("told twice to stop, leaving at once"),
        }
        Ok(())
    }
}

/// The list of nodes as it is now, and where it comes from.
fn peers(config: &NetworkConfig, name: &str, ranges: &[IpNet]) -> (Option<PeersFile>, watch::Sender<Listing>) {
    let file = config.peers.clone();
    let file = file.map(|path| PeersFile { path, own_name: name.to_owned(), own_ranges: ranges.to_vec() });
    let alone = || Listing { known: Some(Arc::default()), problem: None };
    let first = file.as_ref().map_or_else(alone, |file| file.read(&Listing::default()));
    (file, watch::Sender::new(first))
}

async fn keep_whole(app: Rc<App<Host>>, mut stopping: watch::Receiver<bool>) {
    let mut rounds = interval(RECONCILE);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, and the start has just done it.
    rounds.tick().await;
    loop {
        tokio::select! {
            _ = rounds.tick() => app.endpoints.reconcile().await,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Binds under another name first: whoever finds the socket finds it listening, and for root alone.
fn listen(run_dir: &RunDir) -> Result<UnixListener, StartError> {
    let (draft, path) = (run_dir.new_socket(), run_dir.socket());
    let bound = match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => {
            let before = umask(Mode::S_IXUSR | Mode::S_IRWXG | Mode::S_IRWXO);
            let bound = UnixListener::bind(&draft);
            umask(before);
            bound.and_then(|listener| fs::rename(&draft, &path).map(|()| listener))
        }
    };
    bound.map_err(|source| StartError::Socket { path, source })
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot tell the service manager: {error}");
    }
}

fn read_line(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

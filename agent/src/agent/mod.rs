//! The daemon: from a configuration to a handle, from the handle to the end.

mod error;
mod outset;
mod socket;

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::api::{App, serve_health, serve_socket};
use crate::cluster::{Ranges, become_ready, follow_limits, follow_proxy, local_to, spare_unmanaged};
use crate::config::Config;
use crate::datapath::{Datapath, DatapathConfig, EventStream, trim_heap};
use crate::endpoint::{Endpoints, Identity, boot_id};
use crate::flow::{Collector, Parking};
use crate::install::Keeper;
use crate::ipam::Pools;
use crate::kernel::Host;
use crate::monitor::{self, RequestStats, Tracer};
use crate::node::{Expedite, Node};
use crate::peer::{Network, Settings, Sources, View};
use crate::run_dir::{Lock, RunDir};
use crate::shaping::Shaping;
use crate::text;

use self::outset::{Following, Member, Outset};
use self::socket::listen;

pub use error::StartError;

/// How often records and kernel are compared while nothing happens.
const RECONCILE: Duration = Duration::from_secs(30);
/// How long after a pod's interface vanished they are compared, so that all that vanish together share one round.
const SETTLE: Duration = Duration::from_millis(500);
/// How long requests may take to end after the agent was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// A node's agent that has brought everything up and waits to serve.
pub struct Agent {
    app: Rc<App<Host>>,
    events: EventStream,
    collector: Collector<Datapath>,
    parking: Option<Parking>,
    keeper: Option<Keeper>,
    health: Option<TcpListener>,
    network: Network,
    following: Following,
    /// What other nodes' ranges are set against.
    local: watch::Sender<Arc<[IpNet]>>,
    ready: watch::Sender<bool>,
    stopping: watch::Sender<bool>,
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
        let run_dir = RunDir::new(config.run_dir.clone());
        run_dir.create()?;
        let lock = run_dir.lock()?;
        let health = match config.listen {
            Some(listen) => {
                let bound = TcpListener::bind(listen).await;
                Some(bound.map_err(|source| StartError::Listen { listen, source })?)
            }
            None => None,
        };
        let boot = boot_id()?;
        let stopping = watch::Sender::new(false);
        // First of all: the API server's answers come while the programs are loaded.
        let mut outset = Outset::of(&config, &run_dir, &boot, &stopping.subscribe());
        let keeper = config.install.map(|install| Keeper::new(install, &run_dir));
        let link_group = run_dir.link_group();
        let expedite = Expedite::new(config.expedite_rcu, run_dir.path());
        let wanted = DatapathConfig {
            bpf_dir: config.bpf_dir,
            attach: config.attach,
            expedite: expedite.clone(),
            overlay_port: config.network.overlay.map(|overlay| overlay.port),
            host_routing: config.network.host_routing,
            flow_table_size: config.network.flow_table_size,
        };
        let datapath = spawn_blocking(move || Datapath::load(&wanted)).await??;
        let node = Node::open(link_group, &expedite, &config.proc_dir)?;
        outset.prepare(&node).await?;
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
        let endpoints = Rc::new(Endpoints::new(kernel, &run_dir, Pools::new(&outset.ranges), identity));
        endpoints.restore().await?;
        datapath.join_cgroup(config.cgroup.as_deref());
        let local = watch::Sender::new(local_to(&outset.ranges, &endpoints));
        let Outset { addresses, lists, services, following, .. } = outset;
        let settings = Settings { config: config.network, own_addresses: addresses, mtu: config.mtu };
        let sources = Sources { lists, local: local.subscribe(), services };
        let network = Network::start(node, datapath, shaping, settings, sources, Rc::clone(&view)).await?;
        // Without a cluster whoever has come so far is ready.
        let ready = watch::Sender::new(!matches!(following, Following::Cluster(_)));
        let app = Rc::new(App {
            endpoints,
            drops: Rc::default(),
            install: keeper.as_ref().map(Keeper::view).unwrap_or_default(),
            network: view,
            cluster: following.member().map(|member| member.tell(ready.subscribe())),
            tracer: Tracer::default(),
            flows: collector.report(),
            requests: RequestStats::default(),
            node_name: config.node_name,
            kernel_release: read_line(Path::new("/proc/sys/kernel/osrelease")),
            started,
        });
        trim_heap();
        Ok(Self {
            app,
            events,
            collector,
            parking: parking.ok(),
            keeper,
            health,
            network,
            following,
            local,
            ready,
            stopping,
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
        let Self { app, events, collector, parking, keeper, health, network, following, .. } = self;
        let Self { local, ready, stopping, run_dir, _lock, .. } = self;
        let (watcher, is_ready) = (stopping.subscribe(), ready.subscribe());
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
                if let Some(listener) = health {
                    spawn_local(serve_health(Rc::clone(&app), listener, watcher.clone()));
                }
                if let Some(keeper) = keeper {
                    spawn_local(keeper.run(ready.subscribe(), watcher.clone()));
                }
                match following {
                    Following::Nothing => {}
                    Following::File(file, lists) => drop(spawn_local(file.follow(lists))),
                    Following::Cluster(member) => follow(&app, *member, local, ready, &watcher),
                }
                spawn_local(serve_socket(Rc::clone(&app), socket, watcher));
                let state = if *is_ready.borrow() { "ready" } else { "listening" };
                log::info!("{state} after {} ms on {}", app.started.elapsed().as_millis(), run_dir.socket().display());
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

/// Does what a place in a cluster asks for, until the agent stops.
fn follow(
    app: &Rc<App<Host>>,
    member: Member,
    local: watch::Sender<Arc<[IpNet]>>,
    ready: watch::Sender<bool>,
    stopping: &watch::Receiver<bool>,
) {
    let Member { own, pods, report, proxy, troubles, cache, known, kept, .. } = member;
    let (endpoints, node) = (Rc::clone(&app.endpoints), app.endpoints.kernel().node.clone());
    let has_ranges = watch::Sender::new(endpoints.has_ranges());
    // The kernel still has what an agent of this boot wrote.
    let led = if kept { watch::channel(true).1 } else { app.network.led() };
    let (is_ready, mut becomes_ready, started) = (ready.subscribe(), ready.subscribe(), app.started);
    until(stopping, become_ready(has_ranges.subscribe(), led, ready));
    until(stopping, async move {
        if becomes_ready.wait_for(|ready| *ready).await.is_ok() {
            log::info!("ready after {} ms", started.elapsed().as_millis());
        }
    });
    until(stopping, report.run(is_ready));
    until(stopping, spare_unmanaged(Rc::clone(&endpoints), pods.clone()));
    until(stopping, follow_limits(Rc::clone(&endpoints), pods, Rc::clone(&troubles)));
    until(stopping, follow_proxy(node.clone(), proxy));
    let ranges = Ranges { node, endpoints, own, local, ranged: has_ranges, troubles, cache, known };
    until(stopping, ranges.follow());
}

/// Runs it until the agent stops, if it lasts so long.
fn until(stopping: &watch::Receiver<bool>, work: impl Future<Output = ()> + 'static) {
    let mut stopping = stopping.clone();
    spawn_local(async move {
        tokio::select! {
            () = work => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    });
}

async fn keep_whole(app: Rc<App<Host>>, mut stopping: watch::Receiver<bool>) {
    let mut rounds = interval(RECONCILE);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, and the start has just done it.
    rounds.tick().await;
    let node = app.endpoints.kernel().node.clone();
    let lost = async || {
        node.lost_link().await;
        sleep(SETTLE).await;
    };
    loop {
        tokio::select! {
            _ = rounds.tick() => app.endpoints.reconcile().await,
            () = lost() => app.endpoints.reconcile().await,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot tell the service manager: {error}");
    }
}

fn read_line(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

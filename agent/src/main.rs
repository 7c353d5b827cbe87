//! `weft-agent`: the daemon of a node, and its clean-up.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use log::LevelFilter;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;
use weft_agent::cleanup::clean_up;
use weft_agent::config::{self, CleanupConfig, Command, Config, ConfigError};
use weft_agent::init::initialize;
use weft_agent::preflight::preflight;
use weft_agent::{Agent, text};

/// Threads for calls that wait for the kernel's rtnl lock: it is one lock, more would only wait side by side.
const BLOCKING_THREADS: usize = 4;

fn main() -> ExitCode {
    let error = match start() {
        Ok(code) => return code,
        Err(error) => error,
    };
    match error.downcast::<ConfigError>() {
        Ok(error) => match *error {
            // Help, version and usage know where and how they are shown.
            ConfigError::CommandLine(error) => error.exit(),
            error => complain(&error, 2),
        },
        Err(error) => complain(error.as_ref(), 1),
    }
}

fn complain(error: &dyn Error, code: u8) -> ExitCode {
    // Without stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "weft-agent: {}", text::chain(error));
    ExitCode::from(code)
}

fn start() -> Result<ExitCode, Box<dyn Error>> {
    match config::parse(std::env::args_os())? {
        Command::Run(config) => {
            start_log(config.log_level);
            runtime()?.block_on(serve(*config))?;
        }
        Command::Init(config) => {
            start_log(config.log_level);
            initialize(&config)?;
        }
        Command::Preflight { config, format } => return Ok(preflight(&config, format)?),
        Command::Cleanup(config) => {
            start_log(config.log_level);
            runtime()?.block_on(clean(&config))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn clean(config: &CleanupConfig) -> Result<(), Box<dyn Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    clean_up(config).await?;
    if config.stay {
        log::info!("all is clean: waiting for a signal to end");
        either(&mut terminate, &mut interrupt).await;
    }
    Ok(())
}

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let tasks = LocalSet::new();
    let agent = tokio::select! {
        agent = tasks.run_until(Agent::build(config)) => agent?,
        () = either(&mut terminate, &mut interrupt) => return Ok(()),
    };
    // The same two streams both times: further ones would hear the first signal as well.
    Ok(agent.run(tasks, async || either(&mut terminate, &mut interrupt).await).await?)
}

async fn either(first: &mut Signal, second: &mut Signal) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()
}

fn start_log(level: LevelFilter) {
    // The client warns of each stream that breaks; the agent tells itself what that means, and when it means nothing.
    let client = if level > LevelFilter::Info { level } else { LevelFilter::Error };
    env_logger::Builder::new().filter_level(level).filter_module("kube_client", client).init();
}

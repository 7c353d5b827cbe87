//! `weft-demo`: what weft does, shown on namespaces of its own.

use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;

use clap::Parser;
use weft_tests::{demo, site};

/// Pods join a node or several, talk through eBPF, and leave; everything is removed at the end.
#[derive(Debug, Parser)]
#[command(name = "weft-demo", version)]
struct Args {
    /// Nodes; more than one are joined by an overlay and have a world behind a router
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: u8,
    /// Leave it up and say what to type next
    #[arg(long, conflicts_with = "down")]
    keep: bool,
    /// Take down what --keep left up
    #[arg(long)]
    down: bool,
    /// No colours, no line that changes
    #[arg(long)]
    plain: bool,
    /// Be the web server in a pod
    #[arg(long, hide = true, value_name = "PAGE")]
    serve: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.serve.is_none() {
        // The release profile aborts on a panic: nothing would be dropped.
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            usual(info);
            site::demolish_all();
        }));
    }
    let outcome = match &args.serve {
        Some(page) => demo::web::serve(page),
        None if args.down => demo::down(args.plain),
        None => demo::run(args.nodes, args.keep, args.plain),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            site::yield_to_signal();
            // Without stderr there is nobody to tell.
            let _ = writeln!(io::stderr(), "weft-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

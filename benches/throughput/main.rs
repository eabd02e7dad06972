//! How fast postroad is: the release binary itself, over HTTP, with a real Postgres and a real SMTP server.
//!
//! `cargo bench --bench throughput -- [OPTIONS]` (`--help` lists them) starts `postroad serve` as an operator would,
//! with its embedded database in a temporary directory, and Postfix's `smtp-sink` as the relay; loads it over
//! keep-alive connections; and prints one line of JSON for each run. What the figures mean is told at
//! [`report::Report`].
//!
//! It is no unit benchmark: the machine is part of what is measured, and so every line names it, says how much
//! processor time went to others meanwhile, and can be put beside Postfix in the same hour (`--peer postfix`).
//! Invariant: whatever happens, no process that was started here outlives it.

mod children;
mod dkim;
mod history;
mod http;
mod latency;
mod load;
mod machine;
mod meter;
mod metrics;
mod modes;
mod options;
mod postfix;
mod postgres;
mod processes;
mod report;
mod request;
mod service;
mod sink;
mod smtp;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("throughput: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(until_interrupted(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughput: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs; a signal ends it like an error does, so that everything is cleaned up on the way out.
async fn until_interrupted(options: Options) -> Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        done = modes::run(&options) => done,
        _ = term.recv() => bail!("terminated"),
        _ = int.recv() => bail!("interrupted"),
    }
}

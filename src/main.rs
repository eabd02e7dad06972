//! The command line: one subcommand for each job of the binary. No logic.

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// Frees memory better than the system's allocator under many small, short-lived objects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("postroad: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("postroad: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! How many connections the system lets this process have: as many as it may ask for, not the few that a shell gives.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit on open files to the most that is allowed. Best effort: with what there is, it runs too.
pub fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(error = %error, "the limit on open files could not be raised");
    }
}

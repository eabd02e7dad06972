//! Where mail goes: Postfix's `smtp-sink`, with its own count of what it has taken.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use super::children::Guard;

/// A running smtp-sink.
pub struct SmtpSink {
    guard: Guard,
    address: SocketAddr,
    count: Arc<AtomicU64>,
}

/// Connections it serves at once; more wait.
const CONNECTIONS: &str = "1000";
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often its count is read: it writes one for every mail, and waking for each would cost more than the rest.
const COUNT_INTERVAL: Duration = Duration::from_millis(5);

impl SmtpSink {
    /// Starts it on a free port; with a delay, it waits so many seconds before it answers DATA.
    ///
    /// # Errors
    /// It is not installed, or does not listen.
    pub fn start(delay: Option<u16>) -> Result<SmtpSink> {
        let address = free_address()?;
        let mut command = Command::new(program("smtp-sink")?);
        command.args(["-c", "-m", CONNECTIONS]);
        if let Some(seconds) = delay {
            command.args(["-w", &seconds.to_string()]);
        }
        if Uid::effective().is_root() {
            command.args(["-u", "nobody"]);
        }
        command.arg(address.to_string()).arg(CONNECTIONS).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut guard = Guard::spawn("smtp-sink", &mut command, Duration::from_secs(1))?;
        let stdout = guard.child().stdout.take().context("smtp-sink has no output")?;
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        thread::Builder::new().name("sink-count".to_owned()).spawn(move || read_counts(stdout, &counted))?;
        await_listener(address, &mut guard)?;
        Ok(SmtpSink { guard, address, count })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.guard.id()
    }

    /// Mails it has taken, at most [`COUNT_INTERVAL`] ago.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// A loopback address on which nothing listens now.
///
/// # Errors
/// There is none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A program of Debian's postfix package, which may not be on the path of every user.
///
/// # Errors
/// It is not installed.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places =
        std::env::split_paths(&path).chain(["/usr/sbin", "/usr/lib/postfix/sbin"].map(PathBuf::from));
    places
        .map(|place| place.join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("{name} is not installed: it is in the package postfix, which need not run"))
}

/// Waits until something listens there.
///
/// # Errors
/// The process ends, or takes too long.
pub fn await_listener(address: SocketAddr, guard: &mut Guard) -> Result<()> {
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = guard.ended() {
            bail!("nothing listens on {address}: the process ended with {status}");
        }
        if began.elapsed() > PATIENCE {
            bail!("nothing listens on {address} after {PATIENCE:?}");
        }
        thread::sleep(COUNT_INTERVAL);
    }
    Ok(())
}

/// It writes `sess=1 quit=1 mesg=5` and a carriage return after each mail. Reads to the end of the output.
fn read_counts(mut output: ChildStdout, count: &AtomicU64) {
    let mut buffer = vec![0u8; 256 * 1024];
    let mut kept = 0;
    while let Ok(read) = output.read(&mut buffer[kept..]) {
        if read == 0 {
            return;
        }
        kept += read;
        let whole = memchr::memrchr(b'\r', &buffer[..kept]).map_or(0, |end| end + 1);
        if let Some(number) = last_count(&buffer[..whole]) {
            count.store(number, Ordering::Relaxed);
        }
        buffer.copy_within(whole..kept, 0);
        kept -= whole;
        thread::sleep(COUNT_INTERVAL);
    }
}

fn last_count(text: &[u8]) -> Option<u64> {
    let at = memchr::memmem::rfind(text, b"mesg=")? + b"mesg=".len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

//! Single mails on an idle system: how long until the sink hears MAIL FROM.
//!
//! The sink is in this process, so that both ends of the wait are told by one clock; it speaks just enough SMTP
//! (RFC 5321, with PIPELINING) for postroad, and keeps nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::load::{Shape, Single};
use super::modes::Bench;
use super::options::Options;
use super::report::{Latency, Spread};

/// Mails before the measured ones.
const WARM_UP: u64 = 20;
/// One mail that does not come in this time ends the run.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs, and prints a line for each run.
///
/// # Errors
/// A sentence for whoever runs the bench.
pub async fn run(options: &Options) -> Result<()> {
    let mut sink = Sink::listen(if options.cold { Manner::Closing } else { Manner::Lasting }).await?;
    let mut bench = Bench::start(options, sink.address, None).await?;
    bench.fill_history().await?;
    let mut single = Single::open(bench.http(), bench.key(), &shape(options)).await?;
    for number in 0..WARM_UP {
        one(&mut single, number, &mut sink).await?;
    }
    let mut next = WARM_UP;
    for run in 1..=options.runs {
        let before = bench.before().await?;
        let mut times = Times::default();
        for _ in 0..options.messages() {
            sleep(Duration::from_millis(options.pause_ms)).await;
            times.push(one(&mut single, next, &mut sink).await?);
            next += 1;
        }
        bench.report_latency(before, run, times.spread()).await?;
    }
    Ok(())
}

fn shape(options: &Options) -> Shape {
    Shape { batch: 1, ..Shape::of(options, None) }
}

/// Moments in the life of one mail.
struct Moments {
    posted: Instant,
    accepted: Instant,
    mail_from: Instant,
}

/// Sends a mail and waits until it has been taken.
async fn one(single: &mut Single, number: u64, sink: &mut Sink) -> Result<Moments> {
    let posted = Instant::now();
    single.send(number).await?;
    let accepted = Instant::now();
    let heard = timeout(PATIENCE, sink.heard.recv()).await.context("the mail did not come")?;
    let mail_from = heard.context("the sink has ended")?;
    Ok(Moments { posted, accepted, mail_from })
}

#[derive(Default)]
struct Times {
    commit_to_mail_from: Vec<u32>,
    post_to_mail_from: Vec<u32>,
    post_to_accepted: Vec<u32>,
}

impl Times {
    fn push(&mut self, moments: Moments) {
        let micros = |from: Instant, to: Instant| {
            u32::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u32::MAX)
        };
        self.commit_to_mail_from.push(micros(moments.accepted, moments.mail_from));
        self.post_to_mail_from.push(micros(moments.posted, moments.mail_from));
        self.post_to_accepted.push(micros(moments.posted, moments.accepted));
    }

    fn spread(self) -> Latency {
        let spread = |mut micros: Vec<u32>| {
            micros.sort_unstable();
            Spread::of_sorted_micros(&micros)
        };
        Latency {
            commit_to_mail_from: spread(self.commit_to_mail_from),
            post_to_mail_from: spread(self.post_to_mail_from),
            post_to_accepted: spread(self.post_to_accepted),
        }
    }
}

/// What the sink does after a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It waits for the next one.
    Lasting,
    /// It closes the connection.
    Closing,
}

/// The listening sink; tells of each mail, once it has been taken, when its MAIL FROM came.
struct Sink {
    address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Instant>,
}

impl Sink {
    async fn listen(manner: Manner) -> Result<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    if let Err(error) =
                        (Session { socket, mail_from: None, in_data: false, tell, manner }).run().await
                    {
                        eprintln!("throughput: the sink: {error:#}");
                    }
                });
            }
        });
        Ok(Sink { address, heard })
    }
}

struct Session {
    socket: TcpStream,
    mail_from: Option<Instant>,
    in_data: bool,
    tell: mpsc::UnboundedSender<Instant>,
    manner: Manner,
}

/// What follows after a line.
enum Then {
    Nothing,
    Say(&'static str),
    Taken,
    Close,
}

impl Session {
    async fn run(mut self) -> Result<()> {
        self.socket.set_nodelay(true)?;
        self.socket.write_all(b"220 sink.example ESMTP\r\n").await?;
        let mut received = Vec::with_capacity(16 * 1024);
        loop {
            if self.socket.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
            ensure!(received.len() < 1 << 20, "a line without an end");
            let mut answers = String::new();
            let (mut used, mut closing) = (0, false);
            while let Some(end) = memchr::memchr(b'\n', &received[used..]) {
                let line = &received[used..used + end];
                used += end + 1;
                match self.line(line.strip_suffix(b"\r").unwrap_or(line)) {
                    Then::Nothing => {}
                    Then::Say(answer) => answers.push_str(answer),
                    Then::Taken => {
                        answers.push_str("250 2.0.0 Taken\r\n");
                        closing = self.manner == Manner::Closing;
                    }
                    Then::Close => {
                        answers.push_str("221 2.0.0 Bye\r\n");
                        closing = true;
                    }
                }
            }
            received.drain(..used);
            self.socket.write_all(answers.as_bytes()).await?;
            if closing {
                return Ok(());
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Then {
        if self.in_data {
            return self.content(line);
        }
        match line.get(..4).map(<[u8]>::to_ascii_uppercase).as_deref() {
            Some(b"EHLO") => {
                Then::Say("250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
            }
            Some(b"MAIL") => {
                self.mail_from = Some(Instant::now());
                Then::Say("250 2.1.0 Ok\r\n")
            }
            Some(b"RCPT") => Then::Say("250 2.1.5 Ok\r\n"),
            Some(b"DATA") => {
                self.in_data = true;
                Then::Say("354 Go ahead\r\n")
            }
            Some(b"QUIT") => Then::Close,
            _ => Then::Say("250 2.0.0 Well\r\n"),
        }
    }

    fn content(&mut self, line: &[u8]) -> Then {
        if line != b"." {
            return Then::Nothing;
        }
        self.in_data = false;
        if let Some(mail_from) = self.mail_from.take() {
            // An error means that the bench is ending.
            let _ = self.tell.send(mail_from);
        }
        Then::Taken
    }
}

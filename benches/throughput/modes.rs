//! The runs: end to end, accept alone, and draining a backlog. Single mails are in [`super::latency`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use time::format_description::well_known::Rfc3339;

use super::dkim;
use super::history;
use super::latency;
use super::load::{Load, Loaded, Plan, Shape, Target};
use super::machine::{self, Machine};
use super::meter::{Meter, Parties, Server};
use super::metrics::{Scrape, Scraper};
use super::options::{Mode, Options, Peer, Sink};
use super::postfix;
use super::postgres::{Postgres, Written};
use super::report::{self, Accept, Build, Database, Flow, Latency, Report};
use super::service::{Home, KEY, Service};
use super::sink::{self, SmtpSink};
use super::smtp;

/// A service, all that it needs, and all that watches it. Dropped in this order.
pub struct Bench<'a> {
    /// How the bench was called.
    pub options: &'a Options,
    scraper: Scraper,
    postgres: Postgres,
    service: Service,
    sink: Option<SmtpSink>,
    keys: Vec<String>,
    /// The number of the next mail.
    next: u64,
    build: Build,
    machine: Machine,
}

/// Mails before the first run: connections are opened, statements planned, memory touched.
const WARM_UP: u64 = 2000;
/// Between runs: chores that a run has caused come to their end.
const REST: Duration = Duration::from_secs(2);
/// A run in which nothing is delivered for so long has failed.
const STALLED: Duration = Duration::from_secs(60);
/// How often the end of a run is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// Does what the options say, and prints a line for each run.
///
/// # Errors
/// A sentence for whoever runs the bench.
pub async fn run(options: &Options) -> Result<()> {
    options.check()?;
    if options.mode == Mode::Latency {
        return latency::run(options).await;
    }
    if options.peer_only {
        let machine = Machine::observe(std::path::Path::new("/var/tmp"));
        for run in 1..=options.runs {
            peer(options, &machine, run).await?;
        }
        return Ok(());
    }
    let sink = match options.sink {
        Sink::Plain => Some(SmtpSink::start(None)?),
        Sink::Slow(seconds) => Some(SmtpSink::start(Some(seconds))?),
        Sink::None => None,
    };
    let relay = sink.as_ref().map_or_else(sink::free_address, |sink| Ok(sink.address()))?;
    let mut bench = Bench::start(options, relay, sink).await?;
    let warm = bench.warm_up().await?;
    for run in 1..=options.runs {
        tokio::time::sleep(REST).await;
        let peer_rate = peer(options, &bench.machine, run).await?;
        if options.statements {
            bench.postgres.reset_statements().await?;
        }
        bench.run(run, peer_rate, warm).await?;
        if options.statements {
            eprintln!("{}", bench.postgres.statements().await?);
        }
    }
    Ok(())
}

/// Measures the peer, if one was asked for; gives its rate.
async fn peer(options: &Options, machine: &Machine, run: u32) -> Result<Option<f64>> {
    match options.peer {
        None => Ok(None),
        Some(Peer::Postfix) => postfix::measure(options, machine, run).await.map(Some),
    }
}

/// What is known when a run begins.
pub struct Before {
    meter: Meter,
    scrape: Scrape,
    written: Written,
    sunk: u64,
}

/// When what was done.
struct Ends {
    sunk: Instant,
    recorded: Instant,
}

impl<'a> Bench<'a> {
    /// Starts a service whose mail goes to `relay`.
    ///
    /// # Errors
    /// A sentence.
    pub async fn start(options: &'a Options, relay: SocketAddr, sink: Option<SmtpSink>) -> Result<Bench<'a>> {
        let home = Home::open(options)?;
        let machine = Machine::observe(home.path());
        if machine.file_system == "tmpfs" {
            eprintln!(
                "throughput: the data is on tmpfs: a flush costs nothing there, and the figures mean little"
            );
        }
        let service = Service::start(options, home, relay)?;
        let mut postgres = Postgres::connect(&service.database(options)?).await?;
        let keys = keys(options, &service, &mut postgres).await?;
        dkim::set_up(options.dkim, service.http(), &mut postgres).await?;
        let scraper = Scraper::open(service.http()).await?;
        let build = Build {
            commit: machine::commit(),
            binary: service.binary().display().to_string(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        };
        Ok(Bench { options, scraper, postgres, service, sink, keys, next: 0, build, machine })
    }

    /// Where the API listens.
    pub fn http(&self) -> SocketAddr {
        self.service.http()
    }

    /// The key of the first tenant.
    pub fn key(&self) -> &str {
        &self.keys[0]
    }

    /// Sends a few mails, and puts the history in place. Gives the rate of accepting.
    async fn warm_up(&mut self) -> Result<f64> {
        let before = self.before().await?;
        let batch = self.options.batch as u64;
        let messages = WARM_UP.div_ceil(batch) * batch;
        let send_at = if self.options.mode == Mode::Accept { Some(self.in_time(DAY).await?) } else { None };
        let loaded = self.load(messages, send_at).await?;
        if self.options.mode != Mode::Accept {
            self.delivered(&before, messages).await?;
        }
        self.fill_history().await?;
        Ok(Accept::of(&loaded, messages).per_s)
    }

    /// Puts the history in place, if one was asked for.
    ///
    /// # Errors
    /// What the database says.
    pub async fn fill_history(&mut self) -> Result<()> {
        if self.options.history > 0 {
            history::fill(self.postgres.connection(), self.options).await?;
            // It took longer than an idle connection is kept.
            self.scraper = Scraper::open(self.http()).await?;
        }
        Ok(())
    }

    async fn run(&mut self, run: u32, peer_rate: Option<f64>, warm: f64) -> Result<()> {
        let messages = self.options.messages();
        match self.options.mode {
            Mode::Accept => {
                let tomorrow = self.in_time(DAY).await?;
                let before = self.before().await?;
                let loaded = self.load(messages, Some(tomorrow)).await?;
                self.report(before, run, peer_rate, Some(&loaded), None).await
            }
            Mode::E2e => {
                let before = self.before().await?;
                let loaded = self.load(messages, None).await?;
                let ends = match self.sink {
                    Some(_) => Some((loaded.began, self.delivered(&before, messages).await?)),
                    None => None,
                };
                self.report(before, run, peer_rate, Some(&loaded), ends).await
            }
            Mode::Drain => self.drain(run, peer_rate, warm).await,
            Mode::Latency => bail!("a run of single mails is not made here"),
        }
    }

    /// All mails fall due at one moment, when all have long been accepted.
    async fn drain(&mut self, run: u32, peer_rate: Option<f64>, warm: f64) -> Result<()> {
        let messages = self.options.messages();
        // A large backlog is accepted more slowly than the warm-up's mails.
        let wait = Duration::from_secs_f64(5.0 + 2.5 * messages as f64 / warm).max(Duration::from_secs(10));
        let due = Instant::now() + wait;
        let due_text = self.in_time(time::Duration::try_from(wait)?).await?;
        let loaded = self.load(messages, Some(due_text)).await?;
        ensure!(loaded.ended + REST < due, "the backlog fell due before all of it was accepted");
        tokio::time::sleep_until((due - REST / 2).into()).await;
        let before = self.before().await?;
        tokio::time::sleep_until(due.into()).await;
        let ends = self.delivered(&before, messages).await?;
        self.report(before, run, peer_rate, None, Some((due, ends))).await
    }

    async fn load(&mut self, messages: u64, send_at: Option<String>) -> Result<Loaded> {
        let options = self.options;
        let plan = Plan {
            target: self.target()?,
            keys: self.keys.clone(),
            messages,
            first: self.next,
            concurrency: options.concurrency,
            threads: options.load_threads,
            shape: Shape::of(options, send_at),
        };
        self.next += messages;
        Load::start(plan)?.finish().await.map_err(|error| error.context(self.service.last_words()))
    }

    /// By which door the mails come.
    fn target(&self) -> Result<Target> {
        if !self.options.smtp {
            return Ok(Target::Http(self.service.http()));
        }
        let address = self.service.submission().context("the submission door is shut")?;
        let entry = if self.options.starttls { smtp::Entry::StartTls } else { smtp::Entry::Tls };
        Ok(Target::Smtp(address, entry, smtp::trust(&self.service.data())?))
    }

    /// What is to be known when a run begins.
    ///
    /// # Errors
    /// Something does not tell.
    pub async fn before(&mut self) -> Result<Before> {
        let parties = Parties {
            server: Server::Process(self.service.pid()),
            postmaster: self.postgres.postmaster,
            sink: self.sink.as_ref().map(SmtpSink::pid),
        };
        let scrape = self.scraper.scrape().await?;
        let written = self.postgres.written().await?;
        let sunk = self.sink.as_ref().map_or(0, SmtpSink::count);
        Ok(Before { meter: Meter::start(parties)?, scrape, written, sunk })
    }

    /// Waits until the sink has taken all, and then until all is recorded. Metrics are not read before, because
    /// rendering them is work too.
    async fn delivered(&mut self, before: &Before, messages: u64) -> Result<Ends> {
        let mut progress = Progress::new();
        while let Some(sink) = &self.sink {
            let sunk = sink.count() - before.sunk;
            if sunk >= messages {
                break;
            }
            if progress.has_stalled(sunk) {
                return Err(self.stalled(sunk, messages).await);
            }
            tokio::time::sleep(LOOK).await;
        }
        let sunk = Instant::now();
        loop {
            let recorded = self.scraper.scrape().await?.delivered() - before.scrape.delivered();
            if recorded >= messages {
                return Ok(Ends { sunk, recorded: Instant::now() });
            }
            if progress.has_stalled(messages + recorded) {
                return Err(self.stalled(recorded, messages).await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn stalled(&mut self, done: u64, messages: u64) -> anyhow::Error {
        let deliveries = match self.scraper.scrape().await {
            Ok(scrape) => scrape.lines("postroad_deliveries_total"),
            Err(error) => error.to_string(),
        };
        anyhow::anyhow!(
            "{done} of {messages} mails were delivered, and for {STALLED:?} no more\n\
             postroad_deliveries_total: {deliveries}\n{}",
            self.service.last_words()
        )
    }

    /// Now and some time, as RFC 3339 has it, by the database's clock, which is postroad's.
    async fn in_time(&mut self, time: time::Duration) -> Result<String> {
        Ok((self.postgres.now().await? + time).format(&Rfc3339)?)
    }

    async fn report(
        &mut self,
        before: Before,
        run: u32,
        peer_rate: Option<f64>,
        loaded: Option<&Loaded>,
        ends: Option<(Instant, Ends)>,
    ) -> Result<()> {
        let messages = self.options.messages();
        let rate_until =
            |began: Instant, end: Instant| report::rate(messages, end.duration_since(began).as_secs_f64());
        let (earlier, sink) = (before.sunk, self.sink.as_ref().map(SmtpSink::count));
        let mut report = self.common(before, run).await?;
        report.accept = loaded.map(|loaded| Accept::of(loaded, messages));
        if let Some((began, ends)) = ends {
            let rate = rate_until(began, ends.sunk);
            report.end_to_end_per_s = Some(rate);
            report.recorded_per_s = Some(rate_until(began, ends.recorded));
            report.times_the_peer = peer_rate.map(|peer| report::round(rate / peer, 100.0));
            report.duplicates = sink.map(|sunk| (sunk - earlier).saturating_sub(messages));
        }
        report.print()
    }

    /// Prints the line of a run of single mails.
    ///
    /// # Errors
    /// Something does not tell.
    pub async fn report_latency(&mut self, before: Before, run: u32, latency: Latency) -> Result<()> {
        let mut report = self.common(before, run).await?;
        report.latency = Some(latency);
        report.print()
    }

    /// What every run's line has. The meter stops here.
    async fn common(&mut self, before: Before, run: u32) -> Result<Report> {
        let messages = self.options.messages();
        let (cpu_s_per_1000, memory_mb) = before.meter.finish(messages)?;
        let after = self.scraper.scrape().await?;
        Ok(Report {
            subject: "postroad",
            mode: self.options.mode,
            run,
            messages,
            accept: None,
            end_to_end_per_s: None,
            recorded_per_s: None,
            duplicates: None,
            latency: None,
            times_the_peer: None,
            cpu_s_per_1000,
            memory_mb,
            flow: Some(flow(&before.scrape, &after)),
            database: Some(self.database(before.written, messages).await?),
            composed_bytes: self.postgres.composed_size().await?,
            config: self.options.clone(),
            build: self.build.clone(),
            machine: self.machine.clone(),
        })
    }

    async fn database(&mut self, before: Written, messages: u64) -> Result<Database> {
        let after = self.postgres.written().await?;
        let each = |octets: i64, unit: f64| report::round(octets as f64 / messages as f64 * unit, 10.0);
        Ok(Database {
            wal_bytes_per_mail: each(after.wal - before.wal, 1.0),
            transactions_per_1000: each(after.transactions - before.transactions, 1000.0),
            settings: self.postgres.settings().await?,
        })
    }
}

const DAY: time::Duration = time::Duration::DAY;

/// One key for each tenant; the first tenant is `default`, whose key is configured.
async fn keys(options: &Options, service: &Service, postgres: &mut Postgres) -> Result<Vec<String>> {
    let mut keys = vec![KEY.to_owned()];
    for number in 2..=options.tenants {
        let tenant = format!("bench-{number}");
        if !postgres.has_tenant(&tenant).await? {
            service.create_tenant(&tenant)?;
        }
        keys.push(service.create_key(&tenant)?);
    }
    Ok(keys)
}

fn flow(before: &Scrape, after: &Scrape) -> Flow {
    let since = |name: &str, label: &str| (after.sum(name, label) - before.sum(name, label)) as u64;
    Flow {
        accept_group: after.distribution(before, "postroad_accept_group_size"),
        record_batch: after.distribution(before, "postroad_record_batch_size"),
        claimed: since("postroad_claimed_total", ""),
        handed_back: since("postroad_handed_back_total", ""),
        deferred: since("postroad_deliveries_total", "outcome=\"deferred\""),
    }
}

/// Notices that nothing happens any more.
struct Progress {
    seen: u64,
    at: Instant,
}

impl Progress {
    fn new() -> Progress {
        Progress { seen: 0, at: Instant::now() }
    }

    fn has_stalled(&mut self, done: u64) -> bool {
        if done > self.seen {
            *self = Progress { seen: done, at: Instant::now() };
        }
        self.at.elapsed() > STALLED
    }
}

//! Assembly: starts Postgres if asked, builds the parts, runs the roles, and shuts down in order.
//!
//! Going down, in this order, each step bounded by what is left of the drain: no new connections, and open
//! ones finish their request; group commits finish; nothing more is claimed; couriers finish the mail they
//! have, the rest is given back; results are written; the node leaves; the database stops.

mod capture;
mod certificate;
mod changes;
mod doors;
mod erasures;
pub mod files;
mod first;
mod identity;
pub mod master_key;
mod mx;
mod observe;
mod quotas;
mod reputation;
mod role;
mod roots;
mod shares;
mod streams;
mod tasks;
mod tracking;
mod way;
mod webhooks;
mod worker;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::account::bootstrap::{self, Bootstrap, OperatorsKeys};
use crate::account::domains::Domains;
use crate::account::users::Users;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::delivery::fence::{Fence, SILENCE};
use crate::dns::Resolver;
use crate::domain::erasure::Pseudonyms;
use crate::domain::id::TenantId;
use crate::domain::incarnation::Incarnation;
use crate::domain::key::KeySecret;
use crate::embedded::{DataDir, Embedded};
use crate::feedback::directory::Directory;
use crate::http::Roles;
use crate::identities::Identities;
use crate::live::Live;
use crate::outbound::Outbound;
use crate::seal::{MasterKey, Purpose, Subkey};
use crate::store::nodes::NewNode;
use crate::store::revisions::{Known, Revisions};
use crate::store::{Database, Use, migrate, nodes, partitions};
use crate::submission::{Hashed, Lanes, Quotas, Streams};
use crate::worker::{alive, rescue, revise};

pub use doors::Ports;
use first::First;
pub use role::Role;
use tasks::{Tasks, before};

/// The most octets of content in hand.
const IN_HAND_BYTES: usize = 128 << 20;
/// The room of a process that has not delivered anything yet.
const FIRST_CAPACITY: usize = 2048;
/// How long the start waits for a database that is not there yet.
const DATABASE_PATIENCE: Duration = Duration::from_secs(60);

/// A running postroad.
pub struct Server {
    ports: Ports,
    first: First,
    config: Config,
    database: Database,
    domains: Domains,
    quotas: Quotas,
    users: Users,
    clock: Clock,
    incarnation: Incarnation,
    delivery: Option<Arc<Delivery>>,
    stop_doors: CancellationToken,
    stop_loops: CancellationToken,
    doors: Tasks,
    smtp: Tasks,
    tellers: Tasks,
    writers: Tasks,
    capture: Tasks,
    stop_capture: CancellationToken,
    loops: Tasks,
    recorders: Tasks,
    embedded: Option<Embedded>,
    _data_dir: DataDir,
}

/// The database, opened and up to date, and what goes with it.
pub struct Opened {
    /// How to reach it.
    pub database: Database,
    /// Its time.
    pub clock: Clock,
    /// The master key.
    pub master: MasterKey,
    /// The private server, if it is ours.
    pub embedded: Option<Embedded>,
    /// The lock on the data directory.
    pub data_dir: DataDir,
}

/// Opens the database and brings it up to date.
///
/// # Errors
/// A sentence for the operator.
pub async fn open(config: &Config) -> Result<Opened> {
    let data_dir = DataDir::lock(&config.data_dir)?;
    let (options, embedded) = match &config.database_url {
        Some(url) => (Database::parse(url.reveal()).context("DATABASE_URL")?, None),
        None => {
            let embedded = Embedded::start(&data_dir).await?;
            (embedded.connect_options(), Some(embedded))
        }
    };
    let database = Database::new(options);
    wait_for(&database).await?;
    migrate::migrate(&database).await?;
    let mut link = database.link(Use::Maintain);
    let connection = link.get().await?;
    let clock = Clock::started_at(nodes::database_time(connection).await?);
    partitions::ensure(connection, clock.now().date()).await?;
    warn_of_settings(connection).await?;
    if let Some(warning) = database.unsafe_way() {
        tracing::warn!("{warning}");
    }
    link.close().await;
    let master = master_key::load(config, &data_dir, &database).await?;
    Ok(Opened { database, clock, master, embedded, data_dir })
}

/// A database that is starting is waited for; what it says otherwise is told.
async fn wait_for(database: &Database) -> Result<()> {
    let began = Instant::now();
    let mut link = database.link(Use::Maintain);
    loop {
        match link.get().await {
            Ok(_) => return Ok(()),
            // A server that has no TLS gets none by our waiting.
            Err(error)
                if error.is_passing() && !error.is_of_encryption() && began.elapsed() < DATABASE_PATIENCE =>
            {
                tracing::warn!(error = %error, "waiting for the database");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error).context("the database cannot be used"),
        }
    }
}

async fn warn_of_settings(connection: &mut crate::store::PgConnection) -> Result<()> {
    let facts = crate::store::health::server_facts(connection).await?;
    for warning in facts.durability_warnings() {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// What building hands from step to step.
struct Building {
    config: Config,
    roles: BTreeSet<Role>,
    shown: Roles,
    opened: Opened,
    incarnation: Incarnation,
    node: NewNode,
    fence: Fence,
    lanes: Lanes,
    live: Live,
    known: watch::Receiver<Known>,
    seal: Subkey,
    users: Users,
    identities: Arc<Identities>,
    domains: Domains,
    outbound: Outbound,
    streams: Streams,
    quotas: Quotas,
    hashed: Hashed,
    resolver: Resolver,
    directory: Directory,
    http: Option<TcpListener>,
    stop_doors: CancellationToken,
    stop_loops: CancellationToken,
    stop_capture: CancellationToken,
    doors: Tasks,
    smtp: Tasks,
    tellers: Tasks,
    writers: Tasks,
    capture: Tasks,
    loops: Tasks,
    recorders: Tasks,
}

impl Server {
    /// Starts everything; returns when it listens.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn start(config: Config, roles: &[Role]) -> Result<Server> {
        let opened = open(&config).await?;
        let now = opened.clock.now();
        let operators =
            OperatorsKeys { api_key: config.api_key.as_ref(), access_key: config.access_key.as_ref() };
        let Bootstrap { tenant, first_key } =
            bootstrap::run(&opened.database, &opened.master, operators, now).await?;
        let mut building = Building::enter(config, roles, opened).await?;
        let setup = building.first_person(tenant).await?;
        building.listen().await?;
        let delivery =
            if building.roles.contains(&Role::Worker) { Some(building.worker().await?) } else { None };
        building.inbound().await?;
        let ports = building.open_doors(tenant, delivery.as_ref()).await?;
        let delivery = delivery.map(|(delivery, _)| delivery);
        Ok(building.finish(ports, delivery, First { tenant, key: first_key, setup }))
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Where HTTP listens; `None`: not the role of this process.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.ports.http
    }

    /// Where mail from the world comes in; `None`: nowhere.
    pub fn mx_addr(&self) -> Option<SocketAddr> {
        self.ports.mx
    }

    /// The key of the first start, to be shown once.
    pub fn first_key(&self) -> Option<&KeySecret> {
        self.first.key.as_ref()
    }

    /// The tenant `default`.
    pub fn default_tenant(&self) -> TenantId {
        self.first.tenant
    }

    /// The path of the page where the first person enters herself; `None`: somebody is there.
    pub fn setup_path(&self) -> Option<String> {
        self.first.setup.as_ref().map(|ticket| format!("/ui/setup?token={}", ticket.reveal()))
    }

    /// The database, for tests that look behind the API.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// What delivers, if that is a role of this process; for tests that look behind the API.
    pub fn delivery(&self) -> Option<&Arc<Delivery>> {
        self.delivery.as_ref()
    }

    /// What works on people.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// What works on sender domains.
    pub fn domains(&self) -> &Domains {
        &self.domains
    }

    /// What this process has of tenants' limits.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The clock of this process.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Shuts down in order, within the configured time; what takes longer is cut off, and its mail made due.
    ///
    /// # Errors
    /// The private database did not stop cleanly.
    pub async fn drain(mut self) -> Result<()> {
        let deadline = Instant::now() + self.config.drain;
        self.stop_doors.cancel();
        let patience = before(deadline);
        tokio::join!(self.doors.end(patience), self.smtp.end(patience), self.tellers.end(patience));
        self.writers.end(before(deadline)).await;
        self.stop_loops.cancel();
        self.loops.end(before(deadline)).await;
        if let Some(delivery) = self.delivery.take() {
            // What does not finish in time stays leased, and is made due below.
            let _ = tokio::time::timeout(before(deadline), delivery.drain()).await;
        }
        self.stop_capture.cancel();
        self.capture.end(before(deadline)).await;
        self.recorders.end(before(deadline).max(Duration::from_secs(1))).await;
        self.leave().await;
        self.database.close().await;
        if let Some(embedded) = self.embedded.take() {
            embedded.stop().await?;
        }
        Ok(())
    }

    /// Makes what is still leased to this process due, so that nobody has to find it dead.
    async fn leave(&self) {
        let mut link = self.database.link(Use::Claim);
        let incarnation = self.incarnation.current();
        let left = tokio::time::timeout(Duration::from_secs(5), async {
            rescue::release(link.get().await?, &[incarnation], self.config.lanes, self.clock.now()).await
        });
        match left.await {
            Ok(Ok(0)) => {}
            Ok(Ok(rows)) => tracing::info!(rows, "mail that was in hand is due again"),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "mail in hand waits until this process is found dead")
            }
            Err(_) => tracing::warn!("mail in hand waits until this process is found dead"),
        }
    }
}

impl Building {
    /// Enters the table of nodes, and makes due what an earlier life of this node left.
    async fn enter(config: Config, roles: &[Role], opened: Opened) -> Result<Building> {
        let roles: BTreeSet<Role> = roles.iter().copied().collect();
        let (known_sender, known) =
            watch::channel(Known { revisions: Revisions::default(), as_of: Instant::now() });
        let begun = Instant::now();
        let mut link = opened.database.link(Use::Watch);
        let now = opened.clock.now();
        let node = NewNode {
            node_id: opened.data_dir.node_id(),
            hostname: config.hostname.clone(),
            version: env!("CARGO_PKG_VERSION"),
            roles: roles.iter().map(|role| role.as_str().to_owned()).collect(),
            alive_until: now + SILENCE,
        };
        let incarnation = Incarnation::new(nodes::enter(link.get().await?, &node, now).await?);
        known_sender.send_replace(Known { revisions: revise::tick(&mut link).await?, as_of: begun });
        link.close().await;
        let mut shown = Roles::default();
        for role in &roles {
            shown.add(role.as_str(), CancellationToken::new());
        }
        let identities = identity::identities(&opened, &roles);
        let mut building = Building {
            lanes: Lanes::new(config.lanes),
            domains: identity::domains(&config, &opened, &identities)?,
            seal: opened.master.derive(Purpose::Seal),
            users: Users::new(opened.database.clone(), opened.master.derive(Purpose::Seal)),
            outbound: webhooks::outbound(&config)?,
            streams: Streams::default(),
            quotas: Quotas::new(opened.database.clone()),
            hashed: Hashed::new(Pseudonyms::new(&opened.master)),
            resolver: Resolver::new(&config.dns).context("names cannot be looked up")?,
            directory: mx::directory(&config, &opened.master, identities.senders()),
            identities,
            fence: Fence::opened(begun),
            live: Live::default(),
            http: None,
            stop_doors: CancellationToken::new(),
            stop_loops: CancellationToken::new(),
            stop_capture: CancellationToken::new(),
            doors: Tasks::default(),
            smtp: Tasks::default(),
            tellers: Tasks::default(),
            writers: Tasks::default(),
            capture: Tasks::default(),
            loops: Tasks::default(),
            recorders: Tasks::default(),
            config,
            roles,
            shown,
            opened,
            incarnation,
            node,
            known,
        };
        building.common_loops(known_sender).await?;
        Ok(building)
    }

    /// What every process runs, whatever its roles.
    async fn common_loops(&mut self, known: watch::Sender<Known>) -> Result<()> {
        let (database, clock, stop) = (&self.opened.database, &self.opened.clock, &self.stop_loops);
        let mut rescuer = rescue::Rescue {
            link: database.link(Use::Claim),
            clock: clock.clone(),
            incarnation: self.incarnation.clone(),
            node_id: self.node.node_id,
            lanes: self.lanes.count(),
            answering_since: None,
        };
        let rescued = rescue::tick(&mut rescuer, clock.now()).await?;
        if rescued > 0 {
            tracing::info!(rows = rescued, "mail of this node's earlier life is due again");
        }
        let alive = alive::Alive {
            link: database.link(Use::Watch),
            clock: clock.clone(),
            incarnation: self.incarnation.clone(),
            fence: self.fence.clone(),
            node: self.node.clone(),
        };
        self.loops.spawn("alive", alive::run(alive, stop.clone()));
        self.loops.spawn("rescue", rescue::run(rescuer, stop.clone()));
        self.streams.reload(database).await?;
        self.loops.spawn("streams", self.follow_streams());
        self.hashed.reload(database).await?;
        self.loops.spawn("erasures", self.follow_erasures());
        self.quotas.reload().await?;
        self.loops.spawn("quotas", self.follow_quotas());
        self.loops.spawn("revise", revise::run(database.link(Use::Watch), known, stop.clone()));
        self.identities.refresh().await?;
        let identities = Arc::clone(&self.identities);
        self.loops.spawn("identities", identity::follow(identities, self.known.clone(), stop.clone()));
        Ok(())
    }

    fn finish(self, ports: Ports, delivery: Option<Arc<Delivery>>, first: First) -> Server {
        let groups = [
            (Role::Api, &self.doors),
            (Role::Smtp, &self.smtp),
            (Role::Worker, &self.loops),
            (Role::Worker, &self.tellers),
        ];
        for (role, tasks) in groups {
            tasks.watch(role.as_str(), &self.shown, [&self.stop_doors, &self.stop_loops]);
        }
        let Opened { database, clock, embedded, data_dir, .. } = self.opened;
        Server {
            ports,
            first,
            config: self.config,
            database,
            domains: self.domains,
            quotas: self.quotas,
            users: self.users,
            clock,
            incarnation: self.incarnation,
            delivery,
            stop_doors: self.stop_doors,
            stop_loops: self.stop_loops,
            doors: self.doors,
            smtp: self.smtp,
            tellers: self.tellers,
            writers: self.writers,
            capture: self.capture,
            stop_capture: self.stop_capture,
            loops: self.loops,
            recorders: self.recorders,
            embedded,
            _data_dir: data_dir,
        }
    }
}

//! Opens and clicks on their way to the events: noted in memory while somebody waits for a picture or a page, and
//! written in batches after that.
//!
//! What is lost: visits that are noted and not yet written when the process is killed, and those that find the queue
//! full, which is counted. None is invented, and none is written twice: a batch whose commit is in doubt is
//! written again with the same ids.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use maxminddb::{PathElement, Reader};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::sync::mpsc;

use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId};
use crate::domain::visitor::{self, KeptAddress, Machine};
use crate::store::visits::{self, Visited};
use crate::store::{Link, StoreError};

/// Visits in memory.
const QUEUE: usize = 20_000;
/// Visits in one transaction.
const BATCH: usize = 500;
/// They wait for each other: nobody waits for them.
const GATHER: Duration = Duration::from_millis(50);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Tries of a batch before it is given up, once the process drains.
const LAST_TRIES: u32 = 3;
/// What is kept of a user agent, in characters.
const MAX_AGENT: usize = 300;

/// A request for a pixel or a link, authentic.
#[derive(Debug)]
pub struct Visit {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// The link that was followed; `None`: it was opened.
    pub url: Option<String>,
    /// When.
    pub at: OffsetDateTime,
    /// From where.
    pub address: IpAddr,
    /// What it calls itself.
    pub user_agent: String,
    /// It only asks for the head.
    pub head_only: bool,
}

/// Takes visits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Visits(mpsc::Sender<Visit>);

impl Visits {
    /// Notes a visit. Never waits: what finds no room is lost, and counted.
    pub fn note(&self, visit: Visit) {
        let kind = if visit.url.is_some() { "clicked" } else { "opened" };
        let result = if self.0.try_send(visit).is_ok() { "noted" } else { "lost" };
        metrics::counter!("postroad_visits_total", "type" => kind, "result" => result).increment(1);
    }
}

/// Countries by address, as the operator's database has them.
pub struct Countries(Reader<Vec<u8>>);

/// The file is no MaxMind database.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be read as a MaxMind database: {0}")]
pub struct BadCountries(#[from] maxminddb::MaxMindDbError);

impl Countries {
    /// Reads a database in MaxMind's format.
    ///
    /// # Errors
    /// [`BadCountries`].
    pub fn open(path: &Path) -> Result<Countries, BadCountries> {
        Ok(Countries(Reader::open_readfile(path)?))
    }

    fn of(&self, address: IpAddr) -> Option<String> {
        let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
        self.0.lookup(address).ok()?.decode_path(&path).ok()?
    }
}

/// Writes visits.
pub struct VisitWriter {
    visits: mpsc::Receiver<Visit>,
    link: Link,
    countries: Option<Countries>,
    kept_address: KeptAddress,
}

/// Both ends.
pub fn queue(link: Link, countries: Option<Countries>, kept_address: KeptAddress) -> (Visits, VisitWriter) {
    let (sender, visits) = mpsc::channel(QUEUE);
    (Visits(sender), VisitWriter { visits, link, countries, kept_address })
}

impl VisitWriter {
    /// Writes until nobody notes any more and all is written.
    pub async fn run(mut self) {
        let mut noted = Vec::with_capacity(BATCH);
        while self.visits.recv_many(&mut noted, BATCH).await > 0 {
            if noted.len() < BATCH && !self.visits.is_closed() {
                tokio::time::sleep(GATHER).await;
                while noted.len() < BATCH
                    && let Ok(visit) = self.visits.try_recv()
                {
                    noted.push(visit);
                }
            }
            let batch: Vec<Visited> = noted.drain(..).map(|visit| self.told(visit)).collect();
            self.write(&batch).await;
        }
    }

    async fn write(&mut self, batch: &[Visited]) {
        let mut tries = 0;
        while let Err(error) = self.try_write(batch).await {
            self.link.broken();
            tries += 1;
            if !error.is_passing() || self.visits.is_closed() && tries >= LAST_TRIES {
                tracing::error!(error = %error, visits = batch.len(), "opens and clicks are lost");
                return;
            }
            tracing::warn!(error = %error, "opens and clicks wait for the database");
            tokio::time::sleep(PAUSE).await;
        }
        metrics::histogram!("postroad_visits_batch_size").record(batch.len() as f64);
    }

    async fn try_write(&mut self, batch: &[Visited]) -> Result<(), StoreError> {
        let mut transaction = self.link.begin().await?;
        visits::lock(&mut transaction).await?;
        visits::append(&mut transaction, batch).await?;
        transaction.commit().await?;
        Ok(())
    }

    fn told(&self, visit: Visit) -> Visited {
        let machine = if visit.head_only {
            Some(Machine::Head)
        } else {
            visitor::machine(&visit.user_agent, visit.address)
        };
        let mut data = Map::new();
        let mut tell = |name: &str, value: Option<String>| {
            data.extend(value.map(|value| (name.to_owned(), Value::from(value))));
        };
        tell("machine_kind", machine.map(|machine| machine.as_str().to_owned()));
        tell("ip", self.kept_address.of(visit.address).map(|ip| ip.to_string()));
        tell("country", self.countries.as_ref().and_then(|countries| countries.of(visit.address)));
        if let Some(client) = visitor::client(&visit.user_agent) {
            tell("client", Some(client.name));
            tell("os", Some(client.os));
            tell("device", Some(client.device));
        }
        let agent: String = visit.user_agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect();
        tell("user_agent", (!agent.is_empty()).then_some(agent));
        let kind = if visit.url.is_some() { EventType::Clicked } else { EventType::Opened };
        tell("url", visit.url);
        let data = Value::Object(data).to_string();
        let id = EventId::of(visit.at, visit.delivery);
        Visited { delivery: visit.delivery, kind, id, by_machine: machine.is_some(), data }
    }
}

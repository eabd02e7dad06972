//! The recorder: gathers results and writes them in batches, fenced, until they are written.
//!
//! Results wait here when the database is away; nothing is forgotten while the process lives, and nothing new
//! is begun. The room of a delivery is given back only when its result is durable.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{Mutex, mpsc, watch};

use crate::domain::handoff::{Leased, Ledger, Room};
use crate::domain::id::{DeliveryId, PauseId};
use crate::store::record::{self, Completion};
use crate::store::{Database, Link, StoreError, Use, pauses, queue};

use crate::domain::incarnation::Incarnation;

/// What became of a leased delivery.
#[derive(Debug)]
pub enum Finished {
    /// A result.
    Completed(Box<Completed>),
    /// It was not tried: it may be claimed again, uncounted.
    HandedBack(HandedBack),
    /// Its courier panicked: it comes again, and the claim counts as one without a result.
    Abandoned {
        /// Which delivery.
        delivery: DeliveryId,
        /// The claim it belongs to.
        claim_no: i32,
        /// When it may be claimed again.
        due_at: OffsetDateTime,
    },
}

/// A result to write.
#[derive(Debug)]
pub struct Completed {
    /// What is written.
    pub completion: Completion,
    /// Given back when it is written.
    pub room: Room,
    /// What happens afterwards.
    pub sequel: Sequel,
}

/// What follows once a result is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequel {
    /// Nothing.
    None,
    /// A simulated recipient complains.
    Complaint,
}

/// A claim to give back.
#[derive(Debug)]
pub struct HandedBack {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// The claim it belongs to.
    pub claim_no: i32,
    /// When it may be claimed again.
    pub due_at: OffsetDateTime,
    /// The pause that holds it: until that is gone, or its own time has run out.
    pub pause: Option<PauseId>,
    /// Given back when it is written.
    pub room: Room,
}

impl Finished {
    /// Gives a delivery back, due at `due_at`, but not after its own time has run out.
    pub fn hand_back(leased: Leased, due_at: OffsetDateTime) -> Finished {
        let due_at = due_at.min(leased.expires_at);
        Finished::HandedBack(HandedBack {
            delivery: leased.id,
            claim_no: leased.claim_no,
            due_at,
            pause: None,
            room: leased.room,
        })
    }

    /// Puts a delivery aside for a pause.
    pub fn hold(leased: Leased, pause: PauseId) -> Finished {
        let due_at = leased.expires_at;
        Finished::HandedBack(HandedBack {
            delivery: leased.id,
            claim_no: leased.claim_no,
            due_at,
            pause: Some(pause),
            room: leased.room,
        })
    }

    /// A result, after which nothing follows.
    pub fn completed(leased: Leased, completion: Completion) -> Finished {
        Finished::Completed(Box::new(Completed { completion, room: leased.room, sequel: Sequel::None }))
    }
}

/// The couriers' end.
#[derive(Debug, Clone)]
pub struct Recorder {
    results: mpsc::UnboundedSender<Finished>,
    writing: watch::Receiver<Writing>,
}

/// Whether results are being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Well,
    /// The database is away: begin nothing new.
    Stuck,
}

/// The most results in one statement.
const BATCH: usize = 1000;
/// How long a batch waits for more.
const LINGER: Duration = Duration::from_millis(10);
/// Waits between tries while the database is away.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// How long one batch may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

impl Recorder {
    /// A recorder, and the tasks that write: run each until it ends. They end when every recorder is dropped
    /// and all results are written.
    pub fn new(
        database: &Database,
        incarnation: Incarnation,
        ledger: &Arc<Ledger>,
        writers: usize,
        complaints: mpsc::UnboundedSender<DeliveryId>,
    ) -> (Recorder, Vec<Writer>) {
        let (results, queue) = mpsc::unbounded_channel();
        let (state, writing) = watch::channel(Writing::Well);
        let queue = Arc::new(Mutex::new(queue));
        let state = Arc::new(state);
        let writers = (0..writers.max(1))
            .map(|_| Writer {
                queue: Arc::clone(&queue),
                state: Arc::clone(&state),
                link: database.link(Use::Record),
                incarnation: incarnation.clone(),
                ledger: Arc::clone(ledger),
                complaints: complaints.clone(),
            })
            .collect();
        (Recorder { results, writing }, writers)
    }

    /// Hands a result in. The channel is unbounded because what is in hand is bounded by the ledger.
    pub fn record(&self, finished: Finished) {
        // An error means that the writers are gone, which they are not while a recorder lives.
        let _ = self.results.send(finished);
    }

    /// Waits until results are being written: nothing is begun whose end could not be noted.
    pub async fn ready(&self) {
        let mut writing = self.writing.clone();
        // An error means that the writers are gone: the process is going down.
        let _ = writing.wait_for(|state| *state == Writing::Well).await;
    }
}

/// Writes results.
pub struct Writer {
    queue: Arc<Mutex<mpsc::UnboundedReceiver<Finished>>>,
    state: Arc<watch::Sender<Writing>>,
    link: Link,
    incarnation: Incarnation,
    ledger: Arc<Ledger>,
    complaints: mpsc::UnboundedSender<DeliveryId>,
}

impl Writer {
    /// Writes batches until there is nothing more to come. The batch that is being written is the linger of
    /// the next one.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            if self.gather(&mut batch).await == 0 {
                break;
            }
            metrics::histogram!("postroad_record_batch_size").record(batch.len() as f64);
            self.write(std::mem::take(&mut batch)).await;
        }
        self.link.close().await;
    }

    /// The next batch. While other mail is in hand its results are waited for a little: nobody waits for these,
    /// and a statement costs the same for few as for many.
    async fn gather(&self, batch: &mut Vec<Finished>) -> usize {
        let mut queue = self.queue.lock().await;
        let count = queue.recv_many(batch, BATCH).await;
        if count > 0 && self.ledger.in_hand() > count {
            tokio::time::sleep(LINGER).await;
            batch.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(BATCH - count));
        }
        batch.len()
    }

    async fn write(&mut self, batch: Vec<Finished>) {
        let mut completed = Vec::with_capacity(batch.len());
        let mut handed_back = Vec::new();
        for finished in batch {
            match finished {
                Finished::Completed(result) => completed.push(*result),
                Finished::HandedBack(claim) => handed_back.push(claim),
                Finished::Abandoned { delivery, claim_no, due_at } => {
                    self.abandon(delivery, claim_no, due_at).await;
                }
            }
        }
        if !handed_back.is_empty() {
            self.give_back(&handed_back).await;
        }
        if !completed.is_empty() {
            self.complete(completed).await;
        }
    }

    /// Rare, and the lease ends by itself if this fails: one try.
    async fn abandon(&mut self, delivery: DeliveryId, claim_no: i32, due_at: OffsetDateTime) {
        let abandoned = match self.link.get().await {
            Ok(connection) => bounded(queue::abandon(connection, delivery, claim_no, due_at)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = abandoned {
            self.link.broken();
            tracing::warn!(error = %error, delivery.id = %delivery, "an abandoned claim waits for its lease");
        }
    }

    async fn give_back(&mut self, claims: &[HandedBack]) {
        let row = |claim: &HandedBack| queue::HandBack {
            delivery: claim.delivery,
            claim_no: claim.claim_no,
            due_at: claim.due_at,
        };
        let rows: Vec<_> = claims.iter().filter(|claim| claim.pause.is_none()).map(row).collect();
        let held: Vec<_> =
            claims.iter().filter_map(|claim| Some((claim.delivery, claim.claim_no, claim.pause?))).collect();
        let mut wait = FIRST_RETRY;
        while let Err(error) = self.try_give_back(&rows, &held).await {
            if !error.is_passing() {
                // The leases run out by themselves.
                tracing::error!(error = %error, rows = claims.len(), "could not give claims back");
                return;
            }
            self.wait_out(&error, &mut wait).await;
        }
        self.state.send_replace(Writing::Well);
        metrics::counter!("postroad_handed_back_total").increment(claims.len() as u64);
    }

    async fn try_give_back(
        &mut self,
        rows: &[queue::HandBack],
        held: &[(DeliveryId, i32, PauseId)],
    ) -> Result<(), StoreError> {
        let connection = self.link.get().await?;
        if !held.is_empty() {
            bounded(pauses::hold(connection, held)).await?;
        }
        if !rows.is_empty() {
            bounded(queue::hand_back(connection, rows)).await?;
        }
        Ok(())
    }

    /// Writes results until they are written. A batch the database refuses is halved until the one result
    /// that is at fault is alone; that one is logged and left to its lease.
    async fn complete(&mut self, results: Vec<Completed>) {
        let mut pending = vec![results];
        let mut wait = FIRST_RETRY;
        while let Some(mut results) = pending.pop() {
            let (completions, rest): (Vec<_>, Vec<_>) =
                results.drain(..).map(|result| (result.completion, (result.room, result.sequel))).unzip();
            let outcome = self.try_complete(&completions).await;
            let results = || completions.into_iter().zip(rest).map(join).collect::<Vec<_>>();
            match outcome {
                Ok(()) => {
                    self.state.send_replace(Writing::Well);
                    self.follow_up(&results());
                }
                Err(error) if error.is_passing() => {
                    pending.push(results());
                    self.wait_out(&error, &mut wait).await;
                }
                Err(error) => pending.extend(halve(results(), &error)),
            }
        }
    }

    async fn try_complete(&mut self, completions: &[Completion]) -> Result<(), StoreError> {
        let incarnation = self.incarnation.current();
        let connection = self.link.get().await?;
        let written = bounded(record::complete(connection, incarnation, completions)).await?;
        if written.len() == completions.len() {
            return Ok(());
        }
        // Rows that were marked as canceled in this very moment are written at the second try; what is refused
        // again was claimed by another process, or has ended.
        let missed: Vec<&Completion> =
            completions.iter().filter(|c| !written.contains(&c.delivery)).collect();
        let again = self.retry_missed(&missed).await?;
        let stale: Vec<&Completion> = missed.into_iter().filter(|c| !again.contains(&c.delivery)).collect();
        if !stale.is_empty() {
            metrics::counter!("postroad_stale_results_total").increment(stale.len() as u64);
            let connection = self.link.get().await?;
            bounded(record::append_stale(connection, incarnation, &stale)).await?;
        }
        Ok(())
    }

    async fn retry_missed(&mut self, missed: &[&Completion]) -> Result<HashSet<DeliveryId>, StoreError> {
        let incarnation = self.incarnation.current();
        let mut written = HashSet::new();
        for completion in missed {
            let connection = self.link.get().await?;
            let one = std::slice::from_ref(*completion);
            written.extend(bounded(record::complete(connection, incarnation, one)).await?);
        }
        Ok(written)
    }

    fn follow_up(&self, results: &[Completed]) {
        for result in results {
            super::observe::ended(&result.completion);
            if result.sequel == Sequel::Complaint {
                // An error means that the process is going down.
                let _ = self.complaints.send(result.completion.delivery);
            }
        }
    }

    async fn wait_out(&mut self, error: &StoreError, wait: &mut Duration) {
        tracing::warn!(error = %error, "results wait for the database");
        self.state.send_replace(Writing::Stuck);
        self.link.broken();
        tokio::time::sleep(*wait).await;
        *wait = (*wait * 2).min(LAST_RETRY);
    }
}

/// Two halves of a refused batch, or nothing if the one at fault is found.
fn halve(mut results: Vec<Completed>, error: &StoreError) -> Vec<Vec<Completed>> {
    if results.len() > 1 {
        let second = results.split_off(results.len() / 2);
        return vec![second, results];
    }
    let delivery = results.first().map(|result| result.completion.delivery);
    match error {
        // Its attempt is there: an earlier write took effect although its answer was lost.
        StoreError::Conflict(_) => tracing::debug!(delivery.id = ?delivery, "a result was written already"),
        _ => tracing::error!(error = %error, delivery.id = ?delivery, "a result could not be written"),
    }
    Vec::new()
}

fn join((completion, (room, sequel)): (Completion, (Room, Sequel))) -> Completed {
    Completed { completion, room, sequel }
}

async fn bounded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(WRITE_TIMEOUT, work).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
}

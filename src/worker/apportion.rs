//! Shares of sites: asked for as couriers need them, and looked at once a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;
use crate::delivery::apportion::{self, Noted};
use crate::delivery::share::Ask;
use crate::domain::incarnation::Incarnation;
use crate::store::{Link, StoreError, sites};

const INTERVAL: Duration = Duration::from_secs(1);
/// How long one round may take.
const TIMEOUT: Duration = Duration::from_secs(4);
/// The most questions in one round.
const BATCH: usize = 500;
/// How long giving up takes at most when the process ends.
const LEAVE: Duration = Duration::from_secs(2);

/// What apportions.
pub struct Apportion {
    /// Its own connection.
    pub link: Link,
    /// Whose couriers ask.
    pub delivery: Arc<Delivery>,
    /// As which this process lives.
    pub incarnation: Incarnation,
    /// Their questions.
    pub asked: mpsc::UnboundedReceiver<Ask>,
    /// What the database has noted as ours.
    pub noted: Noted,
}

/// Answers until `stop`, and then until the couriers have ended: then all is given up.
pub async fn run(mut apportion: Apportion, stop: CancellationToken) {
    let mut asks = Vec::new();
    let delivery = Arc::clone(&apportion.delivery);
    let ended = async {
        stop.cancelled().await;
        delivery.couriers.wait().await;
    };
    tokio::pin!(ended);
    loop {
        tokio::select! {
            biased;
            () = &mut ended => break,
            _ = apportion.asked.recv_many(&mut asks, BATCH) => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
        if let Err(error) = tick(&mut apportion, std::mem::take(&mut asks)).await {
            tracing::warn!(error = %error, "shares of sites stay as they are");
        }
        apportion.delivery.lapse();
    }
    let incarnation = apportion.incarnation.current();
    let leave = async { sites::leave(apportion.link.get().await?, incarnation).await };
    if !matches!(tokio::time::timeout(LEAVE, leave).await, Ok(Ok(()))) {
        tracing::warn!("shares of sites stay until this process is found dead");
    }
}

/// One round.
///
/// # Errors
/// See [`StoreError`]. Shares stay as they are.
pub async fn tick(apportion: &mut Apportion, asks: Vec<Ask>) -> Result<(), StoreError> {
    let incarnation = apportion.incarnation.current();
    let Apportion { link, delivery, noted, .. } = apportion;
    let round = apportion::round(delivery, link, noted, incarnation, asks);
    match tokio::time::timeout(TIMEOUT, round).await {
        Ok(result) => result,
        Err(_) => {
            link.broken();
            Err(StoreError::timed_out())
        }
    }
}

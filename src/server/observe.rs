//! The recorder of metrics. The `metrics` crate has one for the whole process, and so this is the one place
//! with a global.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;

/// Seconds: from a tenth of a millisecond to the longest attempt.
const SECONDS: [f64; 14] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];
const SIZES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0];
const INTERVAL: Duration = Duration::from_secs(5);

/// The recorder of this process, installed at the first call.
///
/// # Errors
/// Another recorder is installed.
pub fn recorder() -> Result<PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZES));
        builder.and_then(PrometheusBuilder::install_recorder).ok()
    };
    RECORDER.get_or_init(install).clone().context("another recorder of metrics is installed")
}

/// Keeps the recorder small, and says what no event tells, until `stop`.
pub async fn upkeep(recorder: PrometheusHandle, delivery: Option<Arc<Delivery>>, stop: CancellationToken) {
    // Those that have been told of: who has nothing any more has nothing to be told, too.
    let mut providers: HashMap<String, (usize, usize)> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        recorder.run_upkeep();
        if let Some(delivery) = &delivery {
            let (connections, waiting) = delivery.load();
            metrics::gauge!("postroad_smtp_connections").set(connections as f64);
            metrics::gauge!("postroad_site_queue_depth").set(waiting as f64);
            providers.values_mut().for_each(|load| *load = (0, 0));
            providers.extend(delivery.load_by_provider());
            tell(&providers);
        }
    }
}

/// Providers are those of the table of paces: the labels are as many as that has.
fn tell(providers: &HashMap<String, (usize, usize)>) {
    for (provider, (connections, waiting)) in providers {
        metrics::gauge!("postroad_provider_connections", "provider" => provider.clone())
            .set(*connections as f64);
        metrics::gauge!("postroad_provider_queue_depth", "provider" => provider.clone()).set(*waiting as f64);
    }
}

//! What postroad says about itself at `/metrics`, in Prometheus's text format.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::http::Connection;

/// A connection for reading metrics.
pub struct Scraper(Connection);

/// All samples at one moment.
#[derive(Debug, Clone, Default)]
pub struct Scrape(Vec<Sample>);

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

/// What a histogram saw between two scrapes.
#[derive(Debug, Clone, Serialize)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The bound of the bucket that holds the median; `null`: above all bounds.
    pub p50_at_most: Option<f64>,
    /// The same for nine tenths.
    pub p90_at_most: Option<f64>,
    /// And for all but a hundredth.
    pub p99_at_most: Option<f64>,
}

impl Scraper {
    /// Connects.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open(address: SocketAddr) -> Result<Scraper> {
        Ok(Scraper(Connection::open(address).await?))
    }

    /// Reads them all.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn scrape(&mut self) -> Result<Scrape> {
        let response = self.0.get("/metrics").await?;
        ensure!(response.status == 200, "/metrics: {}", response.status);
        let text = std::str::from_utf8(response.body).context("metrics that are no text")?;
        Ok(Scrape(text.lines().filter_map(sample).collect()))
    }
}

fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (key, value) = line.rsplit_once(' ')?;
    let (name, labels) = key.split_once('{').unwrap_or((key, ""));
    Some(Sample { name: name.to_owned(), labels: labels.to_owned(), value: value.parse().ok()? })
}

impl Scrape {
    /// The sum of all samples of this name whose labels hold this text.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let fitting = self.0.iter().filter(|sample| sample.name == name && sample.labels.contains(label));
        // Starting from zero, because the empty sum of floats is -0.
        fitting.fold(0.0, |sum, sample| sum + sample.value)
    }

    /// Deliveries whose end is recorded as `delivered`.
    pub fn delivered(&self) -> u64 {
        self.sum("postroad_deliveries_total", "outcome=\"delivered\"") as u64
    }

    /// All samples of this name, for messages to people.
    pub fn lines(&self, name: &str) -> String {
        let fitting = self.0.iter().filter(|sample| sample.name == name);
        fitting.map(|sample| format!("{{{} {}", sample.labels, sample.value)).collect::<Vec<_>>().join(", ")
    }

    /// What a histogram saw since an earlier scrape; `None`: nothing.
    pub fn distribution(&self, earlier: &Scrape, name: &str) -> Option<Distribution> {
        let since = |suffix: &str, label: &str| {
            let name = format!("{name}_{suffix}");
            self.sum(&name, label) - earlier.sum(&name, label)
        };
        let count = since("count", "");
        if count <= 0.0 {
            return None;
        }
        let buckets: Vec<(f64, f64)> =
            self.bounds(name).into_iter().map(|(bound, label)| (bound, since("bucket", &label))).collect();
        let at_most = |part: f64| {
            let bucket = buckets.iter().find(|(_, below)| *below >= part * count);
            bucket.map(|(bound, _)| *bound).filter(|bound| bound.is_finite())
        };
        Some(Distribution {
            count: count as u64,
            mean: (since("sum", "") / count * 100.0).round() / 100.0,
            p50_at_most: at_most(0.5),
            p90_at_most: at_most(0.9),
            p99_at_most: at_most(0.99),
        })
    }

    /// The bounds of a histogram without labels of its own, lowest first, each with the label that names it.
    fn bounds(&self, name: &str) -> Vec<(f64, String)> {
        let name = format!("{name}_bucket");
        let labels = self.0.iter().filter(|sample| sample.name == name).map(|sample| &sample.labels);
        let mut bounds: Vec<(f64, String)> = labels
            .filter_map(|labels| {
                let label = &labels[labels.find("le=\"")?..];
                let bound = label.strip_prefix("le=\"")?.split('"').next()?;
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
                Some((bound, label.trim_end_matches('}').to_owned()))
            })
            .collect();
        bounds.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        bounds
    }
}

//! What operators can measure of deliveries. Labels are few and bounded: no tenant, no address, no host.

use crate::domain::outcome::Step;
use crate::domain::pacing::Effect;
use crate::store::record::{Completion, Turn};

use super::transmit::{Failure, Trouble};

/// A result is durable.
pub fn ended(completion: &Completion) {
    let (outcome, class) = match completion.turn {
        Turn::End { ending, class, .. } => (ending.as_str(), class.map_or("", |class| class.as_str())),
        Turn::Again { class, .. } => ("deferred", class.as_str()),
    };
    metrics::counter!("postroad_deliveries_total", "outcome" => outcome, "class" => class).increment(1);
    if let Some(report) = &completion.report {
        let seconds = f64::from(report.duration_ms) / 1000.0;
        metrics::histogram!("postroad_attempt_seconds", "step" => report.step.as_str()).record(seconds);
    }
}

/// An attempt failed at a step.
pub fn failed(failure: &Failure) {
    let trouble = match failure.trouble {
        Trouble::Refused(_) => "refused",
        Trouble::Broken(_) => "broken",
        Trouble::Unknown(_) => "unknown",
        Trouble::Unfit { .. } => "unfit",
        Trouble::Unmet { .. } => "unmet",
    };
    metrics::counter!("postroad_smtp_failures_total", "step" => failure.step.as_str(), "trouble" => trouble)
        .increment(1);
}

/// A connection was opened, or could not be.
pub fn connected(step: Option<Step>, took: std::time::Duration) {
    let result = step.map_or("open", Step::as_str);
    metrics::histogram!("postroad_smtp_connect_seconds", "result" => result).record(took.as_secs_f64());
}

/// A peer's reply slowed or suspended its site. Providers are those of the table of paces.
pub fn paced(provider: &str, effect: Effect) {
    let effect = match effect {
        Effect::Suspend { .. } => "suspend",
        Effect::Slow { .. } => "slow",
    };
    metrics::counter!("postroad_paced_total", "provider" => provider.to_owned(), "effect" => effect)
        .increment(1);
}

//! Reporting: figures about what happened, rolled up from the events as they are committed, and told right up to
//! the last of them.
//!
//! Not the events themselves, which `store/events` reads. Invariant: a figure is the sum over all events that the
//! asking snapshot sees, each counted once.

pub mod figures;
mod places;
pub mod rollup;
pub mod usage;

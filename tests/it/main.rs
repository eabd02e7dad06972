//! The integration tests: one binary, so that the crate is linked once.

mod api;
mod architecture;
mod certificates;
mod crash;
mod direct;
mod doctor;
mod embedded;
mod faults;
mod identity;
mod inbound;
mod openapi;
mod pacing;
mod packaging;
mod smtp;
mod stats;
mod store;
mod submission;
mod support;
mod suppressions;
mod templates;
mod tracking;
mod unsubscribe;
mod webhooks;

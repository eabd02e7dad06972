//! The integration tests: one binary, so that the crate is linked once.

mod api;
mod architecture;
mod crash;
mod doctor;
mod embedded;
mod faults;
mod inbound;
mod openapi;
mod packaging;
mod smtp;
mod store;
mod support;
mod templates;

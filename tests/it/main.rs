//! The integration tests: one binary, so that the crate is linked once.

mod api;
mod embedded;
mod faults;
mod packaging;
mod smtp;
mod support;

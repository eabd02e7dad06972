//! The integration tests: one binary, so that the crate is linked once.

mod architecture;
mod embedded;
mod openapi;
mod packaging;

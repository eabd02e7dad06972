//! What the tests share.

pub mod sink;

//! The tests that look at postroad from outside.

mod smtp;
mod support;

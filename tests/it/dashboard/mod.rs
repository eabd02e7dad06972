//! The dashboard: its ways in, and its pages.

pub mod person;
mod sign_in;

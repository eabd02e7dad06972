//! The dashboard: its ways in, and its pages.

mod oidc;
pub mod person;
mod sign_in;

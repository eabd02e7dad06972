//! The dashboard: its ways in, and its pages.

mod acts;
pub mod browser;
mod oidc;
mod pages;
pub mod person;
mod sign_in;

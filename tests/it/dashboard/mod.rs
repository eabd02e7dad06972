//! The dashboard: its ways in, and its pages.

mod acts;
pub mod browser;
mod oidc;
mod operator;
mod pages;
mod passkeys;
mod people;
pub mod person;
mod routes;
mod sign_in;

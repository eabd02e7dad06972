//! The native API, through HTTP.

mod messages;

//! What comes back: complaints now; bounces, opens, clicks and unsubscribes as their doors open.

pub mod capture;
pub mod complaint;

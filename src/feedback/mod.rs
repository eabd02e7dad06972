//! What comes back: complaints, and notices to submitters, now; bounces, opens, clicks and unsubscribes as their doors open.

pub mod capture;
pub mod complaint;
pub mod notices;

//! Messages: sending, reading, taking back.

pub mod cancel;
pub mod create;
pub mod decode;
mod personal;
pub mod read;
pub mod resend;
mod show;

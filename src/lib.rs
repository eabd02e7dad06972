//! postroad: an e-mail sending service.

pub mod mail;

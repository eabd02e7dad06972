//! postroad: an e-mail sending service.

//! The SMTP doors, over real sockets.

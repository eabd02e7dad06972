//! Capture: mail that the private listener received is kept for reading, byte for byte.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::domain::id::CapturedId;
use crate::domain::return_path::ReturnPaths;
use crate::mail::EmailAddress;
use crate::store::captured::{self, Captured};
use crate::store::{Database, StoreError};

/// Keeps captured mail.
#[derive(Clone)]
pub struct Keeper {
    database: Database,
    return_paths: Arc<ReturnPaths>,
}

/// A mail as it came over SMTP.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// MAIL FROM, without angle brackets.
    pub return_path: &'a str,
    /// RCPT TO.
    pub recipients: Vec<String>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The content.
    pub raw: &'a [u8],
}

impl Keeper {
    /// Reads return paths to know whose mail it is.
    pub fn new(database: Database, return_paths: Arc<ReturnPaths>) -> Keeper {
        Keeper { database, return_paths }
    }

    /// Keeps a mail: durable when this returns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn keep(&self, mail: Incoming<'_>, now: OffsetDateTime) -> Result<(), StoreError> {
        let address = EmailAddress::parse(mail.return_path).ok();
        let captured = Captured {
            id: CapturedId::new(now),
            delivery: address.and_then(|address| self.return_paths.delivery(&address)),
            tls: mail.tls,
            return_path: mail.return_path.to_owned(),
            recipients: mail.recipients,
            size: i32::try_from(mail.raw.len()).unwrap_or(i32::MAX),
        };
        let mut connection = self.database.serve().acquire().await?;
        captured::insert(&mut connection, &captured, mail.raw).await
    }
}

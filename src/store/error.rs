//! What can go wrong with the database, by what a caller does about it.

use std::borrow::Cow;
use std::sync::Arc;

/// What sqlx says of a server that has no TLS, and what to do about it.
const NO_TLS: &str = "server does not support TLS";
const ENCRYPT: &str = "a database on another machine is to be reached by TLS: turn it on there, or say sslmode=disable in \
                       DATABASE_URL if nobody can listen on the way";

/// An error of the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is starting or stopping, or does not answer in time. Whether a commit that was
    /// under way took effect is unknown. Try again later.
    #[error("the database does not answer: {0}")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// It has no room: disk or memory. Nothing was changed. Try again later.
    #[error("the database has no room: {0}")]
    Full(#[source] Arc<sqlx::Error>),
    /// A row of that name exists already, or one that it points to does not. Nothing was changed.
    #[error("the change conflicts with what is stored: {0}")]
    Conflict(#[source] Arc<sqlx::Error>),
    /// It refused the statement or its data: a fault of ours. Nothing was changed.
    #[error("the database refused: {0}")]
    Refused(#[source] Arc<sqlx::Error>),
}

impl StoreError {
    /// Whether the same statement may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(self, StoreError::Unavailable(_) | StoreError::Full(_))
    }

    /// A prepared statement was there that nobody prepared, or was gone: somebody shares our session.
    pub fn is_of_a_shared_session(&self) -> bool {
        let StoreError::Refused(error) = self else { return false };
        let code = error.as_database_error().and_then(|error| error.code());
        // duplicate_prepared_statement, invalid_sql_statement_name
        matches!(code.as_deref(), Some("42P05" | "26000"))
    }

    /// Whether it could not be spoken to as safely as is asked. This may pass, but seldom does of itself.
    pub fn is_of_encryption(&self) -> bool {
        matches!(self, StoreError::Unavailable(error) if matches!(**error, sqlx::Error::Tls(_)))
    }

    /// It did not answer within the caller's deadline.
    pub fn timed_out() -> StoreError {
        StoreError::Unavailable(Arc::new(sqlx::Error::PoolTimedOut))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        let code = match &error {
            sqlx::Error::Database(database) => database.code(),
            sqlx::Error::Tls(why) if why.to_string() == NO_TLS => {
                let told = format!("{NO_TLS}; {ENCRYPT}");
                return StoreError::Unavailable(Arc::new(sqlx::Error::Tls(told.into())));
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => return StoreError::Unavailable(Arc::new(error)),
            _ => None,
        };
        let kind = by_sqlstate(code);
        let error = Arc::new(error);
        match kind {
            Kind::Unavailable => StoreError::Unavailable(error),
            Kind::Full => StoreError::Full(error),
            Kind::Conflict => StoreError::Conflict(error),
            Kind::Refused => StoreError::Refused(error),
        }
    }
}

enum Kind {
    Unavailable,
    Full,
    Conflict,
    Refused,
}

/// By SQLSTATE (PostgreSQL documentation, appendix A).
fn by_sqlstate(code: Option<Cow<'_, str>>) -> Kind {
    let Some(code) = code else { return Kind::Refused };
    match code.as_ref() {
        // unique, foreign key, exclusion
        "23505" | "23503" | "23P01" => Kind::Conflict,
        // disk full, out of memory, configured limit, could not extend a file
        "53100" | "53200" | "53400" | "53000" | "58030" => Kind::Full,
        // canceled by statement_timeout, read-only after a failover, lock not available, deadlock, serialization, too many
        // connections
        "57014" | "25006" | "55P03" | "40P01" | "40001" | "53300" => Kind::Unavailable,
        // connection trouble; the server stops, starts or crashed
        code if code.starts_with("08") || code.starts_with("57P") => Kind::Unavailable,
        _ => Kind::Refused,
    }
}

//! Signed-in browsers: begun by a proof, renewed by use, ended by hand, by time, or by a change of password.

use time::{Duration, OffsetDateTime};

use crate::domain::id::{SessionId, TenantId, UserId};
use crate::domain::key::NoRandomness;
use crate::domain::session::{self, Place, Session, Visitor};
use crate::domain::ticket::Ticket;
use crate::domain::user::User;
use crate::store::{Database, PgConnection, StoreError, sessions, users};

/// A session is noted as used at most so often.
const TOUCH: Duration = Duration::MINUTE;

/// A session that has just begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// It.
    pub session: Session,
    /// What gets its browser the next short-lived token; told here once.
    pub renewal: Ticket,
}

/// A session that holds, and where its user may what.
#[derive(Debug, Clone)]
pub struct Present {
    /// It.
    pub session: Session,
    /// Her tenants, by name.
    pub places: Vec<Place>,
}

impl Present {
    /// The tenant whose dashboard is shown: the chosen one while she is a member of it, else her first.
    pub fn place(&self) -> Option<&Place> {
        let chosen = self.places.iter().find(|place| Some(place.tenant) == self.session.tenant);
        chosen.or_else(|| self.places.first())
    }
}

/// What a browser shows.
#[derive(Debug, Clone)]
pub enum Shown {
    /// A token that was given for this session, and has not run out.
    Token(SessionId),
    /// What gets it the next token.
    Renewal(Ticket),
}

/// Begins a session, within the caller's transaction.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn begin(
    connection: &mut PgConnection,
    user: &User,
    method: &str,
    visitor: &Visitor,
    now: OffsetDateTime,
) -> Result<Begun, BeginError> {
    let renewal = Ticket::generate()?;
    let session = Session {
        id: SessionId::new(now),
        user: user.clone(),
        tenant: None,
        method: method.to_owned(),
        ip: Some(visitor.ip),
        user_agent: visitor.user_agent.clone(),
        created_at: now,
        proved_at: now,
        seen_at: now,
        expires_at: session::end(now, now),
    };
    sessions::insert(connection, &session, renewal.hash()).await?;
    Ok(Begun { session, renewal })
}

/// Why no session begins.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The session that a browser shows, if it holds; notes that it was used.
///
/// # Errors
/// See [`StoreError`].
pub async fn resume(
    database: &Database,
    shown: &Shown,
    now: OffsetDateTime,
) -> Result<Option<Present>, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let found = match shown {
        Shown::Token(id) => sessions::find(&mut connection, *id, now).await?,
        Shown::Renewal(ticket) => sessions::find_by_renewal(&mut connection, ticket.hash(), now).await?,
    };
    let Some(session) = found else { return Ok(None) };
    if now >= session.seen_at + TOUCH {
        sessions::touch(&mut connection, session.id, now, session.end_if_used(now)).await?;
    }
    let places = users::places(&mut connection, session.user.id).await?;
    Ok(Some(Present { session, places }))
}

/// Ends a session. False: it had ended already.
///
/// # Errors
/// See [`StoreError`].
pub async fn end(
    database: &Database,
    user: UserId,
    id: SessionId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut connection = database.serve().acquire().await?;
    sessions::revoke(&mut connection, user, id, now).await
}

/// Ends all of a person's sessions but the one she is at. Gives how many.
///
/// # Errors
/// See [`StoreError`].
pub async fn end_others(
    database: &Database,
    user: UserId,
    kept: SessionId,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let mut connection = database.serve().acquire().await?;
    sessions::revoke_others(&mut connection, user, Some(kept), now).await
}

/// Shows another of her tenants. False: she is no member of it.
///
/// # Errors
/// See [`StoreError`].
pub async fn choose(
    database: &Database,
    user: UserId,
    id: SessionId,
    tenant: TenantId,
) -> Result<bool, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let places = users::places(&mut connection, user).await?;
    if !places.iter().any(|place| place.tenant == tenant) {
        return Ok(false);
    }
    sessions::choose(&mut connection, id, tenant).await?;
    Ok(true)
}

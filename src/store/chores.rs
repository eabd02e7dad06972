//! Chores that one process does for all.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::StoreError;

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// To watch rates of bounces and complaints.
    Guard,
    /// To look up where we are listed.
    Standing,
}

impl Chore {
    const fn name(self) -> &'static str {
        match self {
            Chore::Guard => "guard",
            Chore::Standing => "standing",
        }
    }
}

/// Takes a chore, if it is due; it is due again at `next`. False: it is not, or another process has it.
///
/// # Errors
/// See [`StoreError`].
pub async fn take(
    connection: &mut PgConnection,
    chore: Chore,
    now: OffsetDateTime,
    next: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE chores SET due_at = $3 WHERE name = $1 AND due_at <= $2",
        chore.name(),
        now,
        next
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

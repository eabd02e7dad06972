//! From events to calls.

use crate::store::{StoreError, calls};

use super::Webhooks;

/// Events that become calls in one transaction.
const PAGE: i64 = 5000;

impl Webhooks {
    /// Turns the next events into calls, unless another process is at it. True: there may be more.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is lost, the reader stays where it was.
    pub async fn dispatch(&self) -> Result<bool, StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        if !calls::anything_new(&mut connection).await? {
            return Ok(false);
        }
        drop(connection);
        let mut transaction = self.database.serve().begin().await?;
        let Some(after) = calls::lock_follower(&mut transaction).await? else { return Ok(false) };
        let done = calls::dispatch(&mut transaction, after, self.clock.now(), PAGE).await?;
        transaction.commit().await?;
        Ok(done.more)
    }
}

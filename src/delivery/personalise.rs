//! The first step of preparing a delivery: where each recipient gets a mail of its own, it is composed here, out of
//! the blueprint that all share.
//!
//! Invariant: the octets come from stored rows alone, so that a second copy is byte-identical.

use bytes::Bytes;

use crate::domain::handoff::Leased;
use crate::domain::outcome::{BounceClass, Step};

use super::transmit::{Failure, Trouble};

/// What this recipient alone gets; `None`: what all get.
///
/// # Errors
/// It cannot be composed. What was accepted can; another version of postroad might see it differently, so that the
/// mail waits rather than bounces.
pub fn personalise(leased: &Leased) -> Result<Option<Bytes>, Failure> {
    let Some(blueprint) = &leased.message.blueprint else { return Ok(None) };
    match blueprint.compose(leased.id, &leased.particulars) {
        Ok(octets) => Ok(Some(Bytes::from(octets))),
        Err(error) => {
            tracing::error!(delivery.id = %leased.id, error = %error, "a recipient's own mail cannot be composed");
            let text = format!("the recipient's own mail cannot be composed: {error}");
            Err(Failure {
                step: Step::Prepare,
                trouble: Trouble::Unmet { class: BounceClass::Internal, status: None, text },
            })
        }
    }
}

//! What `fuzz/` tries: parts of this module that nobody else sees. Built only under `--cfg fuzzing`.

use serde_json::Value;

use super::strict_json;

/// Reads the body of a request.
///
/// # Errors
/// It is no JSON, or a name stands in an object twice.
pub fn json(octets: &[u8]) -> Result<Value, serde_json::Error> {
    strict_json::parse(octets)
}

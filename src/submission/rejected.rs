//! Why a mail is not accepted: everything that is wrong with it, each thing by its place.

use serde_json::{Value, json};

/// A mail that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Of what kind the trouble is.
    pub rejection: Rejection,
    /// All that is wrong; at least one.
    pub violations: Vec<Violation>,
}

/// Of what kind the trouble is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// What was given cannot be used.
    Invalid,
    /// The caller may not do this.
    Forbidden,
    /// The mail is larger than allowed.
    TooLarge,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where: a JSON pointer (RFC 6901) into the native form of a mail.
    pub pointer: String,
    /// What, for programs. Never changes.
    pub code: String,
    /// What, for people, and what to do.
    pub message: String,
}

impl Violation {
    /// Something wrong at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Violation {
        Violation { pointer: pointer.into(), code: code.to_owned(), message: message.into() }
    }
}

impl Rejected {
    /// What was given cannot be used.
    pub fn invalid(violations: Vec<Violation>) -> Rejected {
        Rejected { rejection: Rejection::Invalid, violations }
    }

    /// The caller may not do this.
    pub fn forbidden(violation: Violation) -> Rejected {
        Rejected { rejection: Rejection::Forbidden, violations: vec![violation] }
    }

    /// The mail is larger than allowed.
    pub fn too_large(limit: usize) -> Rejected {
        let message = format!("the mail would have more than {limit} octets");
        Rejected {
            rejection: Rejection::TooLarge,
            violations: vec![Violation::new("", "too_large", message)],
        }
    }

    /// As an idempotency record keeps it.
    pub(super) fn to_json(&self) -> Value {
        let kind = match self.rejection {
            Rejection::Invalid => "invalid",
            Rejection::Forbidden => "forbidden",
            Rejection::TooLarge => "too_large",
        };
        let violations: Vec<Value> = self
            .violations
            .iter()
            .map(|v| json!({ "pointer": v.pointer, "code": v.code, "message": v.message }))
            .collect();
        json!({ "rejected": kind, "violations": violations })
    }

    /// Reads what [`Rejected::to_json`] wrote.
    pub(super) fn from_json(value: &Value) -> Option<Rejected> {
        let rejection = match value.get("rejected")?.as_str()? {
            "forbidden" => Rejection::Forbidden,
            "too_large" => Rejection::TooLarge,
            _ => Rejection::Invalid,
        };
        let text = |violation: &Value, name: &str| violation.get(name)?.as_str().map(str::to_owned);
        let violations = value.get("violations")?.as_array()?.iter().filter_map(|violation| {
            Some(Violation {
                pointer: text(violation, "pointer")?,
                code: text(violation, "code")?,
                message: text(violation, "message")?,
            })
        });
        Some(Rejected { rejection, violations: violations.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_survives_its_record() {
        let rejected = Rejected::invalid(vec![Violation::new("/to/0", "invalid_address", "it has no @")]);
        assert_eq!(Rejected::from_json(&rejected.to_json()), Some(rejected));
        let large = Rejected::too_large(7);
        assert_eq!(Rejected::from_json(&large.to_json()), Some(large));
    }
}

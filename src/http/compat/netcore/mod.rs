//! Netcore, formerly Pepipost (emaildocs.netcorecloud.com, "Send email"). Quirks and what is not supported: README.md.

mod errors;
mod message;
pub mod send;

use super::credential;
use super::door::{Manner, every_path};

/// `api_key: <key>`; behind proxies that drop the underscore, `api-key`.
pub static MANNER: Manner = Manner {
    provider: "netcore",
    credential: |parts| {
        credential::header(parts, "api_key")
            .or_else(|| credential::header(parts, "api-key"))
            .or_else(|| credential::bearer(parts))
    },
    owns: every_path,
    refuse: errors::refuse,
};

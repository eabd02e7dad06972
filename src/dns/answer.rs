//! Reading a server's response: the records of the type that was asked for, at the end of the aliases.

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::{Absence, LookupError};

/// Records as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Records {
    /// Of the type that was asked for; at least one.
    pub data: Vec<RData>,
    /// Whose they are.
    pub name: Name,
    /// The AD bit, if it is believed.
    pub authenticated: bool,
}

/// What a lookup gave, and for how many seconds it may be used again.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    pub result: Result<Records, LookupError>,
    pub ttl: u32,
}

/// A chain of aliases longer than this is a mistake, or a trap.
const MOST_ALIASES: usize = 8;

/// What a response says about a name. Only the answer section counts: what else a server volunteers is not asked
/// for, and not believed.
pub(super) fn read(message: &Message, asked: &Name, wanted: RecordType) -> Looked {
    let mut name = asked.clone();
    let mut ttl = u32::MAX;
    for _ in 0..=MOST_ALIASES {
        let own = || message.answers.iter().filter(|record| record.name == name);
        let found: Vec<_> = own().filter(|record| record.record_type() == wanted).collect();
        if !found.is_empty() {
            ttl = found.iter().map(|record| record.ttl).fold(ttl, u32::min);
            let data = found.into_iter().map(|record| record.data.clone()).collect();
            let authenticated = message.metadata.authentic_data;
            return Looked { result: Ok(Records { data, name, authenticated }), ttl };
        }
        let alias = own().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((target.0.clone(), record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            return absent(message.metadata.response_code, ttl);
        };
        ttl = ttl.min(alias_ttl);
        name = target;
    }
    temporary("the name is an alias of an alias of an alias…")
}

/// What an error says about a name.
pub(super) fn failed(error: &NetError) -> Looked {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            absent(none.response_code, none.negative_ttl.unwrap_or(0))
        }
        NetError::Dns(DnsError::ResponseCode(code)) => temporary(&format!("the resolver answers {code}")),
        NetError::Timeout => temporary("the resolver does not answer"),
        NetError::Truncated => temporary("the answer was cut off"),
        other => temporary(&format!("the resolver cannot be asked: {other}")),
    }
}

pub(super) fn temporary(text: &str) -> Looked {
    Looked { result: Err(LookupError::Temporary(text.to_owned())), ttl: 0 }
}

pub(super) fn absent(code: ResponseCode, ttl: u32) -> Looked {
    let absence = if code == ResponseCode::NXDomain { Absence::Name } else { Absence::Record };
    Looked { result: Err(LookupError::NotFound(absence)), ttl: if ttl == u32::MAX { 0 } else { ttl } }
}

//! The recipients of a transmission: each gets a mail of his own, unless he is a copy of another's, which `header_to` says.
//! The Node client leaves quotes in `header_to` as they are, and writes it for some and not for others: it is read with
//! patience, and what cannot be read is only a label.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::submission::Personal;
use crate::http::api::variables;
use crate::http::compat::reading;
use crate::http::fields::Fields;
use crate::mail::mailbox::parse_list;
use crate::mail::{EmailAddress, Mailbox};
use crate::submission::Violation;

/// What the recipients come to.
#[derive(Default)]
pub struct Read {
    /// Mails of their own.
    pub personal: Vec<Personal>,
    /// How many addresses could be used.
    pub accepted: usize,
    /// Those that could not, in a sentence each.
    pub rejected: Vec<String>,
}

/// Who is one.
struct One {
    address: EmailAddress,
    name: Option<String>,
    /// Whose mail this is a copy of.
    copy_of: Option<EmailAddress>,
    variables: Map<String, Value>,
    metadata: BTreeMap<String, String>,
}

/// Reads the list. An address that is none rejects that recipient alone.
pub fn read(fields: &mut Fields, list: Vec<Value>, cc: &[Mailbox]) -> Read {
    let mut read = Read::default();
    let mut ones = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        match one(fields, value, index) {
            Ok(one) => ones.push(one),
            Err(why) => read.rejected.push(why),
        }
    }
    read.accepted = ones.len();
    for one in ones {
        let mailbox = Mailbox::new(one.name.as_deref(), one.address.clone());
        let mailbox = mailbox.unwrap_or_else(|_| Mailbox::from(one.address.clone()));
        let main = one
            .copy_of
            .as_ref()
            .and_then(|main| read.personal.iter_mut().find(|own| own.to.address.key() == main.key()));
        match main {
            Some(main) => {
                let in_header = cc.iter().any(|seen| seen.address.key() == one.address.key());
                if in_header { main.cc.push(mailbox) } else { main.bcc.push(mailbox) }
            }
            None => read.personal.push(Personal {
                to: mailbox,
                cc: Vec::new(),
                bcc: Vec::new(),
                variables: one.variables,
                metadata: one.metadata,
            }),
        }
    }
    read
}

fn one(fields: &mut Fields, value: Value, index: usize) -> Result<One, String> {
    let pointer = format!("/recipients/{index}");
    let mut object = match value {
        Value::String(_) => {
            let members = Map::from_iter([("address".to_owned(), value)]);
            Fields::of(Value::Object(members), &pointer).map_err(|violation| violation.message)?
        }
        value => Fields::of(value, &pointer).map_err(|violation| violation.message)?,
    };
    let (email, name, header_to) = match object.take("address") {
        Some(Value::String(text)) => match Mailbox::parse(&text) {
            Ok(mailbox) => (mailbox.address.as_str().to_owned(), mailbox.name, None),
            Err(_) => (text, None, None),
        },
        Some(Value::Object(address)) => {
            let text = |name: &str| address.get(name).and_then(Value::as_str).map(str::to_owned);
            (text("email").unwrap_or_default(), text("name"), text("header_to"))
        }
        _ => (String::new(), None, None),
    };
    let variables = variables::take(&mut object, "substitution_data").unwrap_or_default();
    let metadata = reading::metadata(&mut object, "metadata");
    object.rest();
    fields.absorb(object);
    let address =
        EmailAddress::parse(email.trim()).map_err(|error| format!("{pointer}: '{email}': {error}"))?;
    let main = header_to.as_deref().and_then(main_of);
    let (own, other) = match main {
        Some(main) if main.address.key() == address.key() => (main.name, None),
        main => (None, main.map(|main| main.address)),
    };
    let (name, copy_of) = (name.or(own), other);
    Ok(One { address, name, copy_of, variables, metadata })
}

/// The first mailbox of `header_to`; with broken quotes, the first word with an at sign.
fn main_of(header_to: &str) -> Option<Mailbox> {
    if let Some(first) = parse_list(header_to).ok().and_then(|list| list.into_iter().next()) {
        return Some(first);
    }
    let word = header_to.split([' ', '<', '>', ',']).find(|word| word.contains('@'))?;
    EmailAddress::parse(word).ok().map(Mailbox::from)
}

/// The mailboxes that the header field CC names; what cannot be read is left out.
pub fn copies(text: &str) -> Vec<Mailbox> {
    if let Ok(list) = parse_list(text) {
        return list;
    }
    let words = text.split([' ', '<', '>', ',']).filter(|word| word.contains('@'));
    words.filter_map(|word| EmailAddress::parse(word).ok().map(Mailbox::from)).collect()
}

/// Nobody is left.
pub fn nobody() -> Violation {
    Violation::new("/recipients", "no_recipient", "no recipient can be used")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_all(list: Value, cc: &str) -> Read {
        let mut fields = Fields::of(json!({}), "").expect("an object");
        read(&mut fields, list.as_array().expect("a list").clone(), &copies(cc))
    }

    #[test]
    fn copies_go_with_the_mail_that_they_copy() {
        let list = json!([
            { "address": { "email": "ann@example.net", "name": "Ann" } },
            { "address": { "email": "bob@example.net", "header_to": "\"Ann \"A\" B\" <ann@example.net>" } },
            { "address": { "email": "cid@example.net", "header_to": "ann@example.net" } },
            "Dora <dora@example.net>",
            { "address": "nobody" },
        ]);
        let read = read_all(list, "bob@example.net");
        assert_eq!((read.accepted, read.rejected.len()), (4, 1));
        let shown = |list: &[Mailbox]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(read.personal.len(), 2);
        let ann = &read.personal[0];
        assert_eq!(ann.to.to_string(), "Ann <ann@example.net>");
        assert_eq!(
            (shown(&ann.cc), shown(&ann.bcc)),
            (vec!["bob@example.net".to_owned()], vec!["cid@example.net".to_owned()])
        );
        assert_eq!(read.personal[1].to.to_string(), "Dora <dora@example.net>");
    }
}

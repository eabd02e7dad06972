//! `docs/compatibility.md`: what works with whose clients, written from the routes there are and from what the tests
//! say they prove. It is held here, so that it cannot lie: a row names a test that exists, and the file is what would be
//! written now.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use postroad::http::compat;

use super::{
    brevo, mailersend, mailgun, mailjet, netcore, postmark, resend, sendgrid, sendlayer, ses, smtpcom,
    sparkpost,
};

/// One row of a provider's table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What it is about.
    feature: &'static str,
    support: Support,
    /// The test that proves it, or why it is so.
    by: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Support {
    Yes,
    Refused,
    Ignored,
}

impl Row {
    /// It works, as this test shows.
    pub const fn yes(feature: &'static str, test: &'static str) -> Row {
        Row { feature, support: Support::Yes, by: test }
    }

    /// It is refused, as this test shows.
    pub const fn refused(feature: &'static str, test: &'static str) -> Row {
        Row { feature, support: Support::Refused, by: test }
    }

    /// It is taken and has no effect, for this reason.
    pub const fn ignored(feature: &'static str, why: &'static str) -> Row {
        Row { feature, support: Support::Ignored, by: why }
    }
}

/// A provider: its name in paths and for people, the file of its tests, and its rows.
type Provider = (&'static str, &'static str, &'static [Row]);

const PROVIDERS: &[Provider] = &[
    ("sendgrid", "SendGrid", sendgrid::ROWS),
    ("mailgun", "Mailgun", mailgun::ROWS),
    ("postmark", "Postmark", postmark::ROWS),
    ("resend", "Resend", resend::ROWS),
    ("ses", "Amazon SES", ses::ROWS),
    ("sparkpost", "SparkPost", sparkpost::ROWS),
    ("brevo", "Brevo", brevo::ROWS),
    ("mailjet", "Mailjet", mailjet::ROWS),
    ("mailersend", "MailerSend", mailersend::ROWS),
    ("netcore", "Netcore", netcore::ROWS),
    ("sendlayer", "SendLayer", sendlayer::ROWS),
    ("smtpcom", "SMTP.com", smtpcom::ROWS),
];

const HEAD: &str = "# Compatibility\n\n\
    <!-- Written by the tests (tests/it/compat/matrix.rs): change the rows there. -->\n\n\
    Point a provider's client at postroad and give it a key of postroad. Every path below is at the root of the host and\n\
    below `/compat/<provider>/`, with or without a trailing slash. What each does differently is told in\n\
    `src/http/compat/<provider>/README.md`.\n\n\
    Webhooks are posted in a provider's shape when they are made with its name as their `format`: sendgrid, mailgun,\n\
    postmark, ses, sparkpost, brevo, resend, mailjet or mailersend (proved by `compat::webhooks::\
    django_anymail_understands_every_shape`).\n\
    Where the provider signs, the webhook's secret is the signing key, and for SendGrid `verification_key` is the public\n\
    one; where it does not, requests bear Basic credentials: the user `postroad` and the secret.\n";

fn written() -> String {
    let mut page = HEAD.to_owned();
    let routes = compat::routes();
    for (provider, name, rows) in PROVIDERS {
        let _ = write!(page, "\n## {name}\n\n| What | How | Shown by |\n|---|---|---|\n");
        for row in *rows {
            let (how, by) = match row.support {
                Support::Yes => ("works", format!("`compat::{provider}::{}`", row.by)),
                Support::Refused => ("is refused", format!("`compat::{provider}::{}`", row.by)),
                Support::Ignored => ("has no effect", row.by.to_owned()),
            };
            let _ = writeln!(page, "| {} | {how} | {by} |", row.feature);
        }
        let _ = write!(page, "\n| Route | Scope |\n|---|---|\n");
        for route in routes.iter().filter(|route| route.provider == *provider) {
            let _ = writeln!(page, "| `{} {}` | `{}` |", route.method, route.path, route.scope.as_str());
        }
    }
    page
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_is_what_the_tests_say() {
    let now = written();
    let page = std::fs::read_to_string(root().join("docs/compatibility.md")).unwrap_or_default();
    if page != now {
        let new = root().join("target/compatibility.md");
        std::fs::write(&new, now).expect("written");
        panic!("docs/compatibility.md is stale: put {} in its place", new.display());
    }
}

#[test]
fn every_row_names_a_test_that_is_there() {
    for (provider, _, rows) in PROVIDERS {
        let path = root().join(format!("tests/it/compat/{provider}.rs"));
        let source = std::fs::read_to_string(path).expect("its tests");
        for row in rows.iter().filter(|row| row.support != Support::Ignored) {
            assert!(source.contains(&format!("async fn {}()", row.by)), "{provider}: there is no {}", row.by);
        }
    }
}

#[test]
fn every_provider_that_has_routes_has_rows_and_a_page_of_its_own() {
    for route in compat::routes() {
        let provider = route.provider;
        assert!(PROVIDERS.iter().any(|(name, ..)| *name == provider), "{provider} has no rows");
        let readme = root().join(format!("src/http/compat/{provider}/README.md"));
        assert!(Path::new(&readme).exists(), "{provider} has no README.md");
    }
}

//! `docs/compatibility.md`: what works with whose clients, written from the routes there are and from what the tests
//! say they prove. It is held here, so that it cannot lie: a row names a test that exists, and the file is what would be
//! written now.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use postroad::http::compat;
use postroad::http::compat::door::Place;

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

/// What is not of one provider, and the tests that prove it.
const ALL_TOGETHER: &[(&str, &str)] = &[
    (
        "one key, wherever a client puts it; trailing slashes",
        "compat::shared::one_key_works_wherever_a_client_puts_it",
    ),
    ("paths that two providers share", "compat::shared::a_shared_path_is_whose_key_is_shown"),
    (
        "wrong key, bad sender, no recipient, too many, too large, suppressed recipient, in each provider's own words",
        "compat::words::what_is_wrong_is_said_in_each_providers_words",
    ),
    (
        "django-anymail's backends for SES, Brevo, MailerSend, Mailgun, Mailjet, Postmark, Resend, SendGrid, SparkPost",
        "compat::shared::django_anymail_sends_through_every_backend",
    ),
    (
        "django-anymail's webhook views for the same",
        "compat::webhooks::django_anymail_understands_every_shape",
    ),
    ("user names of providers, by SMTP", "submission::manners::every_providers_user_name_is_a_user_name"),
    (
        "Amazon's SMTP passwords",
        "submission::manners::an_access_key_logs_in_with_its_secret_or_the_password_made_of_it",
    ),
    (
        "control fields of providers, by SMTP",
        "submission::manners::control_fields_of_providers_count_and_never_leave",
    ),
    (
        "`postroad import`: suppressions and templates",
        "compat::moving::suppressions_and_templates_come_along_and_work",
    ),
    (
        "`postroad import`: domains and their DKIM keys",
        "compat::moving::domains_and_the_keys_they_sign_with_come_along",
    ),
    (
        "through Google's relay, by XOAUTH2",
        "faults::tls::a_bearer_token_is_fetched_kept_and_fetched_again_before_it_expires",
    ),
    (
        "through Google's relay, by our address alone: a relay without a login, over TLS",
        "faults::tls::required_and_implicit_tls_deliver_to_a_peer_that_proves_itself",
    ),
    (
        "instead of Google's relay: printers and scanners by their networks, without a password, of one tenant each",
        "submission::manners::a_printer_sends_by_its_address_alone_until_its_key_is_revoked",
    ),
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
    let _ = write!(page, "\n## All together\n\n| What | Shown by |\n|---|---|\n");
    for (feature, by) in ALL_TOGETHER {
        let _ = writeln!(page, "| {feature} | `{by}` |");
    }
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
            let only = if route.place == Place::BelowItsName { ", below its name alone" } else { "" };
            let (method, path, scope) = (&route.method, route.path, route.scope.as_str());
            let _ = writeln!(page, "| `{method} {path}`{only} | `{scope}` |");
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
    for (_, by) in ALL_TOGETHER {
        let (file, name) = by.rsplit_once("::").expect("a path");
        let path = root().join(format!("tests/it/{}.rs", file.replace("::", "/")));
        let source = std::fs::read_to_string(path).expect("its tests");
        assert!(source.contains(&format!("async fn {name}()")), "there is no {by}");
    }
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

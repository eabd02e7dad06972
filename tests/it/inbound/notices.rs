//! What notices mean, over a corpus of the forms in which the world writes them. Addresses and names in it are
//! examples; the forms are those of the programs and providers that the files are named after.

use postroad::domain::classify::classify_notice;
use postroad::domain::outcome::{Hardness, Ruling, Step, Suppress};
use postroad::mail::returned::{Action, Envelope, Notice, Returned, Stage, read};

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/dsn/{name}.eml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.replace('\n', "\r\n").into_bytes()
}

/// In one line: what it is, and what follows for the recipient.
fn meaning(name: &str) -> String {
    match read(&file(name), Envelope::Null) {
        Returned::Notice(notices) => notices.iter().map(of_one).collect::<Vec<_>>().join("; "),
        Returned::Complaint(complaint) => format!("{complaint:?}"),
        Returned::Receipt(receipt) => format!("receipt {:?}", receipt.disposition).to_lowercase(),
        Returned::AutoReply => "automatic".to_owned(),
        Returned::Mail => "mail".to_owned(),
    }
}

fn of_one(notice: &Notice) -> String {
    let recipient = notice.recipient.as_deref().unwrap_or("?");
    match notice.action {
        Action::Delayed => format!("{recipient} delayed"),
        Action::Done => format!("{recipient} done"),
        Action::Failed => format!("{recipient} failed {}", ruling(notice)),
    }
}

fn ruling(notice: &Notice) -> String {
    let step = match notice.stage {
        Stage::Sender => Step::Mail,
        Stage::Recipient => Step::Rcpt,
        Stage::Content => Step::Body,
    };
    let Ruling::Bounce { class, hardness, suppress } = classify_notice(step, &notice.reply) else {
        panic!("a notice is final: {notice:?}");
    };
    let hardness = if hardness == Hardness::Hard { "hard" } else { "soft" };
    let suppress = match suppress {
        Suppress::Never => "never".to_owned(),
        Suppress::Now => "now".to_owned(),
        Suppress::After(times) => format!("after {times}"),
    };
    let enhanced = notice.reply.enhanced.map(|status| format!(" {status}")).unwrap_or_default();
    format!("{}{enhanced}: {} {hardness}, suppress {suppress}", notice.reply.code, class.as_str())
}

#[test]
fn every_form_of_notice_means_what_it_says() {
    let cases = [
        ("postfix-unknown-user", "ann@example.net failed 550 5.1.1: invalid_recipient hard, suppress now"),
        ("postfix-over-quota", "ann@example.net failed 550 5.2.2: mailbox_full soft, suppress after 3"),
        ("postfix-delayed", "ann@example.net delayed"),
        ("postfix-success", "ann@example.net done"),
        ("postfix-expired", "ann@example.net failed 450 4.4.1: network soft, suppress never"),
        ("postfix-spamhaus", "ann@example.net failed 554 5.7.1: reputation_block soft, suppress never"),
        ("postfix-content", "ann@example.net failed 550: unknown soft, suppress never"),
        ("gmail-no-such-user", "ann@example.net failed 550 5.1.1: invalid_recipient hard, suppress now"),
        ("gmail-dmarc", "ann@example.net failed 550 5.7.26: auth_policy soft, suppress never"),
        ("m365-not-found", "ann@example.net failed 550 5.1.10: invalid_recipient hard, suppress now"),
        ("m365-access-denied", "ann@example.net failed 550 5.7.515: auth_policy soft, suppress never"),
        ("exchange-quota", "ann@example.net failed 554 5.2.2: mailbox_full soft, suppress after 3"),
        ("sendmail", "ann@example.net failed 550 5.1.1: invalid_recipient hard, suppress now"),
        ("no-action-field", "ann@example.net failed 550 5.2.1: inactive_mailbox hard, suppress now"),
        (
            "two-recipients",
            "bob@example.net done; ann@example.net failed 550 5.1.1: invalid_recipient hard, suppress now",
        ),
        ("utf8", "ann@example.net failed 550 5.1.1: invalid_recipient hard, suppress now"),
        ("icloud", "ann@example.net failed 552 5.2.2: mailbox_full soft, suppress after 3"),
        ("rfc3464-e1", "ann@example.net failed 426: unknown soft, suppress never"),
        ("exim-unknown-user", "ann@example.net failed 550 5.1.1: invalid_recipient hard, suppress now"),
        ("exim-quota", "ann@example.net failed 550: mailbox_full soft, suppress after 3"),
        ("exim-warning", "ann@example.net delayed"),
        ("qmail-no-mailbox", "ann@example.net failed 550 5.1.1: invalid_recipient hard, suppress now"),
        ("qmail-remote", "ann@example.net failed 550 5.2.1: inactive_mailbox hard, suppress now"),
        ("qmail-delay", "ann@example.net delayed"),
        ("yahoo", "ann@example.net failed 554: invalid_recipient hard, suppress now"),
        ("gmx-html", "ann@example.net failed 550: unknown soft, suppress never"),
        ("words-only", "ann@example.net failed 550: invalid_recipient hard, suppress now"),
        ("out-of-office", "automatic"),
        ("out-of-office-plain", "automatic"),
        ("reply-about-a-bounce", "mail"),
        ("read-receipt", "receipt displayed"),
    ];
    let mut wrong = Vec::new();
    for (name, expected) in cases {
        let got = meaning(name);
        if got != expected {
            wrong.push(format!("{name}:\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let files =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dsn")).expect("the corpus");
    assert_eq!(files.count(), cases.len(), "every file has its meaning");
}

#[test]
fn a_human_subject_does_not_become_a_notice_by_a_named_sender() {
    let text = String::from_utf8(file("words-only")).expect("ASCII");
    let by_ann = text.replace("Mail Administrator <postmaster@mx.example.net>", "Ann <ann@example.net>");
    assert_eq!(read(by_ann.as_bytes(), Envelope::Named), Returned::Mail);
}

//! No mail makes the readers panic, and a person's mail is none of theirs. What real notices mean is asserted over
//! a corpus, `tests/data/dsn`.

use super::*;

#[test]
fn a_mail_is_a_mail_whatever_it_talks_about() {
    let texts = [
        "From: Ann <ann@example.net>\r\nSubject: Re: Undelivered Mail\r\n\r\n550 5.1.1 User unknown\r\n",
        "From: ann@example.net\r\n\r\nCould not be delivered\r\n",
        "",
        "\r\n",
    ];
    for text in texts {
        assert_eq!(read(text.as_bytes(), Envelope::Named), Returned::Mail, "{text:?}");
    }
}

#[test]
fn an_answering_machine_is_no_bounce_though_its_path_is_null() {
    let text = "From: Ann <ann@example.net>\r\nSubject: I am away\r\nAuto-Submitted: auto-replied (vacation)\r\n\r\n550 5.1.1 days\r\n";
    assert_eq!(read(text.as_bytes(), Envelope::Null), Returned::AutoReply);
}

proptest::proptest! {
    #[test]
    fn nothing_makes_the_readers_panic(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..2_000)) {
        let _ = read(&octets, Envelope::Null);
    }

    #[test]
    fn no_report_makes_the_readers_panic(
        kind in "message/(delivery-status|feedback-report)|text/plain",
        text in "((Action|Status|Final-Recipient|Diagnostic-Code|Feedback-Type|Source-IP)?:?[ -~\u{e9}\r\n]{0,40}){0,12}",
    ) {
        let mail = format!(
            "From: MAILER-DAEMON@x.example\r\nSubject: failure notice\r\nContent-Type: multipart/report; boundary=b\r\n\r\n\
             --b\r\nContent-Type: {kind}\r\n\r\n{text}\r\n--b--\r\n"
        );
        let _ = read(mail.as_bytes(), Envelope::Null);
        let _ = read_at_feedback_address(mail.as_bytes(), Envelope::Named);
    }
}

/// What fuzzing has found: a message whose own header begins with parts of another.
#[test]
fn messages_within_messages_are_read_as_far_as_they_can_be() {
    let text = include_bytes!("../../../tests/data/found/returned.eml");
    for envelope in [Envelope::Null, Envelope::Named] {
        let Returned::Notice(notices) = read(text, envelope) else { panic!("it is a notice") };
        assert_eq!(notices[0].recipient.as_deref(), Some("ann@example.net"));
        assert_eq!(notices[0].action, Action::Failed);
    }
}

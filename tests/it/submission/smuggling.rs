//! SMTP smuggling: whatever stands around a dot, one DATA is one mail, or none.

use super::*;

/// Ways to write the end of a line that are none.
const BREAKS: [&str; 9] = ["\n", "\r", "\r\r\n", "\n\r", "\0\r\n", "\r\0\n", "\r\n\0", "\n\n", "\r\r"];

#[tokio::test]
async fn no_other_ending_than_crlf_dot_crlf_ends_a_mail() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    let mut vectors = Vec::new();
    for odd in BREAKS {
        vectors.extend([format!("{odd}.{odd}"), format!("\r\n.{odd}"), format!("{odd}.\r\n")]);
    }
    // Where a proper CRLF stands around the dot, everybody sees the end of the mail.
    vectors.retain(|vector| !vector.contains("\r\n.\r\n"));
    for vector in &vectors {
        client.ask_all(&["MAIL FROM:<a@acme.example>", "RCPT TO:<ann@example.net>", "DATA"]).await;
        let smuggled = "MAIL FROM:<evil@acme.example>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\n";
        let said = client.ask(format!("{TEXT}{vector}{smuggled}{TEXT}\r\n.\r\n")).await;
        assert_eq!(said, "550 5.6.11 The mail holds a bare CR, a bare LF or a NUL", "{vector:?}");
        // Nothing is left over that would be answered before this.
        assert_eq!(client.ask("VRFY x\r\n").await, "252 2.5.0 Send some mail, and see", "{vector:?}");
        // A mail in between, so that the patience with refusals begins anew.
        queued(&client.mail("a@acme.example", &["ann@example.net"], TEXT).await);
    }
    let listed = doors.app.client.all_pages("/v1/messages", 100).await;
    assert_eq!(listed.len(), vectors.len(), "only the mails in between");
    doors.close().await;
}

#[tokio::test]
async fn lines_of_commands_end_in_crlf_alone() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    for line in ["NOOP\n", "NO\rOP\r\n", "NOOP\r\r\n", "NOOP\0\r\n"] {
        let said = client.ask(line).await;
        assert_eq!(&said[..9], "500 5.5.2", "{line:?}: {said}");
    }
    doors.close().await;
}

// A carriage return in a header is a field to some readers and not to others.
#[tokio::test]
async fn a_header_cannot_be_split() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    for header in ["Subject: x\rBcc: victim@example.net", "Subject: x\nBcc: victim@example.net", "No field"] {
        let said = client
            .mail(
                "a@acme.example",
                &["ann@example.net"],
                &format!("From: a@acme.example\r\n{header}\r\n\r\nx"),
            )
            .await;
        assert_eq!(&said[..5], "550 5", "{header:?}: {said}");
    }
    doors.close().await;
}

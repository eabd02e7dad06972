//! Clients that no one here wrote: Python's smtplib and Postfix's smtp-source.

use std::process::{Output, Stdio};

use postroad::smtp::{ForwardPath, Tls};
use tokio::process::Command;
use tokio::sync::watch;

use super::*;
use crate::support::sink::self_signed;

async fn run(program: &str, arguments: &[&str]) -> Output {
    // smtp-source is an administrator's tool and lives where ordinary search paths do not look.
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).stdin(Stdio::null()).output().await;
    output.unwrap_or_else(|error| panic!("{program} must be installed (make test does it): {error}"))
}

async fn python(script: &str) -> String {
    let output = run("python3", &["-c", script]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn smtplib_sends_dots_eight_bits_many_recipients_and_no_sender() {
    let mut receiver = Receiver::start(Settings::new("mx.test")).await;
    let port = receiver.address.port();
    python(&format!(
        "import smtplib\n\
         s = smtplib.SMTP('127.0.0.1', {port}, local_hostname='client.test')\n\
         text = b'Subject: x\\r\\n\\r\\n.\\r\\n..two\\r\\n\\xe9\\r\\n' + b'y' * 5000 + b'\\r\\n'\n\
         s.sendmail('', ['%d@mx.test' % n for n in range(150)], text, ['BODY=8BITMIME'])\n\
         s.sendmail('\u{e9}@client.test', ['\u{fc}@mx.test'], 'Subject: \u{e9}\\r\\n\\r\\nx\\r\\n'.encode(), ['SMTPUTF8', 'BODY=8BITMIME'])\n\
         s.quit()\n"
    ))
    .await;
    let mail = receiver.next_mail().await;
    assert_eq!(
        (mail.return_path.as_str(), mail.recipients.len(), mail.helo.as_str()),
        ("", 150, "client.test")
    );
    let expected = [&b"Subject: x\r\n\r\n.\r\n..two\r\n\xe9\r\n"[..], &[b'y'; 5000], b"\r\n"].concat();
    assert_eq!(mail.bytes, expected);
    let mail = receiver.next_mail().await;
    assert_eq!(mail.return_path.as_str(), "\u{e9}@client.test");
    assert_eq!(mail.recipients.iter().map(ForwardPath::as_str).collect::<Vec<_>>(), ["\u{fc}@mx.test"]);
}

#[tokio::test]
async fn smtplib_reads_our_extensions_and_our_refusals() {
    let limits = postroad::smtp::Limits { message: 1_000, ..Default::default() };
    let receiver = Receiver::start(Settings { limits, ..Settings::new("mx.test") }).await;
    let port = receiver.address.port();
    let said = python(&format!(
        "import smtplib\n\
         s = smtplib.SMTP('127.0.0.1', {port}, local_hostname='client.test')\n\
         s.ehlo()\n\
         print(sorted(s.esmtp_features.items()))\n\
         print(s.verify('b'), s.noop(), s.help())\n\
         try:\n    s.sendmail('a@client.test', ['b@mx.test'], 'x' * 2000)\n\
         except smtplib.SMTPSenderRefused as refused:\n    print(refused.smtp_code, refused.smtp_error)\n\
         s.quit()\n"
    ))
    .await;
    let expected = "[('8bitmime', ''), ('enhancedstatuscodes', ''), ('pipelining', ''), ('size', '1000'), ('smtputf8', '')]\n\
        (252, b'2.5.0 Send some mail, and see') (250, b'2.0.0 Ok') b'2.0.0 See RFC 5321'\n\
        552 b'5.3.4 The mail is larger than this host accepts'";
    assert_eq!(said, expected);
}

#[tokio::test]
async fn smtplib_trusts_our_starttls() {
    let identity = self_signed("localhost");
    let (_sender, config) = watch::channel(identity.server.clone());
    let settings = Settings { tls: Tls::StartTls(config), ..Settings::new("mx.test") };
    let mut receiver = Receiver::start(settings).await;
    let (port, pem) = (receiver.address.port(), identity.pem);
    python(&format!(
        "import smtplib, ssl\n\
         s = smtplib.SMTP('localhost', {port}, local_hostname='client.test')\n\
         s.starttls(context=ssl.create_default_context(cadata='''{pem}'''))\n\
         s.sendmail('a@client.test', ['b@mx.test'], 'Subject: secret\\r\\n\\r\\nx\\r\\n' * 10000)\n\
         s.quit()\n"
    ))
    .await;
    let mail = receiver.next_mail().await;
    assert_eq!(mail.bytes, "Subject: secret\r\n\r\nx\r\n".repeat(10_000));
    let version = mail.tls.map(|tls| tls.version);
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn smtp_source_delivers_over_parallel_and_reused_sessions() {
    let mut receiver = Receiver::start(Settings::new("mx.test")).await;
    let address = receiver.address.to_string();
    let envelope = ["-f", "a@client.test", "-t", "b@mx.test"];
    for sessions in [&["-s", "8", "-d"][..], &["-s", "3"]] {
        let arguments = [sessions, &["-m", "200", "-r", "3", "-l", "20000"], &envelope, &[&address]].concat();
        let output = run("smtp-source", &arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for _ in 0..200 {
            let mail = receiver.next_mail().await;
            assert_eq!(mail.recipients.len(), 3);
            assert!(mail.bytes.len() >= 20_000 && mail.bytes.ends_with(b"\r\n"), "{}", mail.bytes.len());
        }
    }
}

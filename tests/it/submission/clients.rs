//! Clients that no one here wrote: swaks, curl, Python's smtplib, msmtp, nodemailer, lettre, and Postfix that uses us as
//! its smarthost.

use std::path::Path;
use std::process::{Output, Stdio};

use lettre::message::{Attachment, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::captured::{contains, field};

use super::*;

/// Runs a program with this on its standard input.
pub async fn run_with(program: &str, arguments: &[&str], input: &str) -> Output {
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools/node_modules");
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("NODE_PATH", modules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} must be installed (make test does it): {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    // A program that does not read is not wrong for it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    timeout(PATIENCE, child.wait_with_output()).await.expect("an end in time").expect("our child")
}

async fn run(program: &str, arguments: &[&str]) -> String {
    let output = run_with(program, arguments, "").await;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {said}");
    said
}

/// The ids in what a client printed of the dialogue.
fn ids(said: &str) -> Vec<String> {
    let ids = said.split("queued as ").skip(1);
    ids.map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()).collect()
}

async fn only(doors: &Doors, said: &str) -> Vec<u8> {
    let ids = ids(said);
    assert_eq!(ids.len(), 1, "{said}");
    doors.app.client.only_arrived(&ids[0]).await
}

#[tokio::test]
async fn swaks_sends_over_both_doors_with_both_mechanisms() {
    let doors = Doors::open().await;
    let (submission, submissions) = (doors.submission().to_string(), doors.submissions().to_string());
    for (server, tls) in [(&submission, "-tls"), (&submissions, "-tlsc")] {
        for mechanism in ["PLAIN", "LOGIN"] {
            let arguments = [
                "--server",
                server,
                tls,
                "--auth",
                mechanism,
                "--auth-user",
                "anybody",
                "--auth-password",
                KEY,
                "--from",
                "hello@acme.example",
                "--to",
                "ann@example.net",
                "--body",
                "Hello\n.\nAnn",
                "--attach",
                "@/etc/hostname",
                "--pipeline",
            ];
            let said = run("swaks", &arguments).await;
            let arrived = only(&doors, &said).await;
            assert!(
                contains(&arrived, "\r\n\r\nHello\r\n.\r\nAnn\r\n"),
                "{}",
                String::from_utf8_lossy(&arrived)
            );
        }
    }
    let wrong = [
        "--server",
        &submission,
        "-tls",
        "--auth",
        "PLAIN",
        "--auth-user",
        "x",
        "--auth-password",
        "wrong",
        "--to",
        "ann@example.net",
    ];
    let output = run_with("swaks", &wrong, "").await;
    assert_eq!(output.status.code(), Some(28), "swaks says that the login failed");
    doors.close().await;
}

#[tokio::test]
async fn curl_sends_a_file() {
    let doors = Doors::open().await;
    let file = doors.directory.path().join("mail");
    std::fs::write(&file, format!("{TEXT}\r\n")).expect("written");
    let (ca, upload) = (doors.directory.path().join("cert.pem"), file.display().to_string());
    let credentials = format!("anybody:{KEY}");
    for (url, port) in [("smtp", doors.submission().port()), ("smtps", doors.submissions().port())] {
        let url = format!("{url}://localhost:{port}/client.test");
        let arguments = [
            "--verbose",
            "--noproxy",
            "*",
            "--ssl-reqd",
            "--ipv4",
            "--cacert",
            &ca.display().to_string(),
            "--url",
            &url,
            "--user",
            &credentials,
            "--mail-from",
            "hello@acme.example",
            "--mail-rcpt",
            "ann@example.net",
            "--upload-file",
            &upload,
        ];
        let arrived = only(&doors, &run("curl", &arguments).await).await;
        assert!(arrived.ends_with(b"\r\n\r\nHello, Ann.\r\n"));
    }
    doors.close().await;
}

#[tokio::test]
async fn smtplib_sends_files_utf_8_and_many_mails_on_a_connection() {
    let doors = Doors::open().await;
    let port = doors.submission().port();
    let ca = doors.directory.path().join("cert.pem").display().to_string();
    let script = format!(
        "import smtplib, ssl, email.message, email.policy\n\
         tls = ssl.create_default_context(cafile={ca:?})\n\
         s = smtplib.SMTP('localhost', {port}, local_hostname='client.test')\n\
         s.starttls(context=tls)\n\
         s.login('anybody', {KEY:?})\n\
         s.set_debuglevel(1)\n\
         m = email.message.EmailMessage()\n\
         m['From'], m['To'], m['Subject'] = 'Zoë <hello@acme.example>', 'ann@example.net', 'Grüße'\n\
         m.set_content('Schöne Grüße\\n')\n\
         m.add_attachment(bytes(range(256)) * 400, maintype='application', subtype='octet-stream', filename='ü.bin')\n\
         s.send_message(m)\n\
         del m['To']; m['To'] = 'jörg@example.net'\n\
         s.send_message(m)\n\
         s.quit()\n"
    );
    let said = run("python3", &["-c", &script]).await;
    // The debugging output shows each reply twice.
    let mut ids = ids(&said);
    ids.dedup();
    assert_eq!(ids.len(), 2, "{said}");
    let first = doors.app.client.only_arrived(&ids[0]).await;
    assert_eq!(field(&first, "Subject"), "=?utf-8?q?Gr=C3=BC=C3=9Fe?=");
    let second = doors.app.client.only_arrived(&ids[1]).await;
    assert_eq!(field(&second, "Subject"), "Grüße", "SMTPUTF8 sends it as it is");
    doors.close().await;
}

#[tokio::test]
async fn msmtp_sends_what_it_is_given() {
    let doors = Doors::open().await;
    let port = doors.submission().port().to_string();
    let (host, port) = ("--host=localhost", format!("--port={port}"));
    let trust = format!("--tls-trust-file={}", doors.directory.path().join("cert.pem").display());
    let password = format!("--passwordeval=echo {KEY}");
    let arguments = [
        "--file=/dev/null",
        "--debug",
        host,
        &port,
        "--tls=on",
        "--tls-starttls=on",
        &trust,
        "--auth=plain",
        "--user=anybody",
        &password,
        "--from=hello@acme.example",
        "--dsn-notify=failure,delay",
        "--dsn-return=headers",
        "ann@example.net",
    ];
    let output = run_with("msmtp", &arguments, &TEXT.replace("\r\n", "\n")).await;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let arrived = only(&doors, &said).await;
    assert!(arrived.ends_with(b"\r\n\r\nHello, Ann.\r\n"));
    doors.close().await;
}

#[tokio::test]
async fn nodemailer_sends_over_a_pool() {
    let doors = Doors::open().await;
    let port = doors.submissions().port();
    let ca = doors.directory.path().join("cert.pem").display().to_string();
    let script = format!(
        "const mail = require('nodemailer').createTransport({{host: 'localhost', port: {port}, secure: true, pool: true,\
           maxConnections: 3, auth: {{user: 'anybody', pass: {KEY:?}}}, tls: {{ca: require('fs').readFileSync({ca:?})}}}});\
         const one = n => mail.sendMail({{from: 'Zoë <hello@acme.example>', to: `a${{n}}@example.net`, subject: 'Grüße',\
           text: 'Hello', html: '<p>Hello</p>', attachments: [{{filename: 'ü.txt', content: 'x'.repeat(5000)}}],\
           dsn: {{id: `id+${{n}}`, return: 'headers', notify: 'failure', recipient: 'hello@acme.example'}}}});\
         Promise.all([...Array(12).keys()].map(one)).then(all => {{all.forEach(done => console.log(done.response));\
           mail.close()}}, failed => {{console.error(failed); process.exit(1)}});"
    );
    let said = run("node", &["-e", &script]).await;
    let ids = ids(&said);
    assert_eq!(ids.len(), 12, "{said}");
    for id in ids {
        let arrived = doors.app.client.only_arrived(&id).await;
        assert!(contains(&arrived, "multipart/mixed") && contains(&arrived, "<p>Hello</p>"));
    }
    doors.close().await;
}

#[tokio::test]
async fn lettre_sends_over_both_doors() {
    let doors = Doors::open().await;
    let tls = |root: Vec<u8>| {
        TlsParameters::builder("localhost".to_owned())
            .certificate_store(CertificateStore::None)
            .add_root_certificate(Certificate::from_der(root).expect("a certificate"))
            .build()
            .expect("parameters")
    };
    let attached = Attachment::new("ü.bin".to_owned());
    let attached = attached.body(vec![0xff_u8; 5000], "application/octet-stream".parse().expect("a type"));
    let letter = Message::builder()
        .from("Zoë <hello@acme.example>".parse().expect("a mailbox"))
        .to("ann@example.net".parse().expect("a mailbox"))
        .subject("Grüße")
        .multipart(
            MultiPart::mixed()
                .singlepart(SinglePart::plain("Hello\n.\nZoë\n".to_owned()))
                .singlepart(attached),
        )
        .expect("a message");
    for (door, tls) in [
        (doors.submission(), Tls::Required(tls(doors.root.to_vec()))),
        (doors.submissions(), Tls::Wrapper(tls(doors.root.to_vec()))),
    ] {
        let client = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("localhost")
            .port(door.port())
            .tls(tls)
            .credentials(Credentials::new("anybody".to_owned(), KEY.to_owned()))
            .build();
        for _ in 0..2 {
            let answer = client.send(letter.clone()).await.expect("taken");
            let said: String = answer.message().collect();
            let arrived = only(&doors, &said).await;
            assert!(contains(&arrived, "multipart/mixed") && contains(&arrived, "Content-Disposition"));
        }
    }
    doors.close().await;
}

/// A Postfix that hands all it is given to us.
#[tokio::test]
async fn postfix_uses_us_as_its_smarthost() {
    let doors = Doors::open().await;
    let postfix = crate::support::peer::Server::smarthost(doors.submission().port(), KEY).await;
    let mut client = Raw::connect(([127, 0, 0, 1], postfix.port()).into()).await;
    client.ask("").await;
    client.ask("EHLO client.test\r\n").await;
    for n in 0..5 {
        let to = [format!("a{n}@example.net"), format!("b{n}@example.net")];
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        assert!(client.mail("hello@acme.example", &to, TEXT).await.starts_with("250 "));
    }
    let began = std::time::Instant::now();
    let listed = loop {
        let listed = doors.app.client.all_pages("/v1/messages", 100).await;
        if listed.len() == 5 {
            break listed;
        }
        assert!(began.elapsed() < PATIENCE, "{} of 5 came", listed.len());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    for message in listed {
        let id = message["id"].as_str().expect("a text");
        let message = doors.app.client.ended(id).await;
        assert_eq!(message["deliveries"].as_array().map(Vec::len), Some(2));
    }
    assert!(Path::new(doors.directory.path()).exists());
    doors.close().await;
}

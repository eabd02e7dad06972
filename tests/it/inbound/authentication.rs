//! Who mail is from: signed, unsigned, misaligned and forged mail against records of a DNS server of our own. The
//! signed mail is the example of RFC 8463, which nobody here wrote.

use super::*;
use crate::support::dns::{DnsServer, Fault};

/// RFC 8463, appendix A.3.
const SIGNED: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\n d=football.example.com; i=@football.example.com;\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\n subject : date : message-id : from : subject : date;\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\n Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\nFrom: Joe SixPack <joe@football.example.com>\nTo: Suzie Q <suzie@shopping.example.net>\nSubject: Is dinner ready?\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\n\nHi.\n\nWe lost the game.  Are you hungry yet?\n\nJoe.\n";
const KEY: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

async fn records() -> DnsServer {
    let dns = DnsServer::start().await;
    dns.txt("brisbane._domainkey.football.example.com", KEY);
    dns.txt("_dmarc.football.example.com", "v=DMARC1; p=reject");
    dns.txt("football.example.com", "v=spf1 ip4:127.0.0.1 -all");
    dns.txt("elsewhere.example", "v=spf1 ip4:127.0.0.1 -all");
    dns.txt("strict.example", "v=spf1 ip4:192.0.2.1 -all");
    dns
}

/// What was found out about the newest mail, and its field.
async fn verdicts(app: &TestApp) -> (String, String) {
    let newest = "FROM inbound ORDER BY id DESC LIMIT 1";
    let columns = "concat_ws(' ', verdicts->>'spf', verdicts->>'dkim', verdicts->>'dmarc', verdicts->>'arc')";
    let words = app.database.texts(&format!("SELECT {columns} {newest}")).await.remove(0);
    let raw = app.database.texts(&format!("SELECT convert_from(raw, 'UTF8') {newest}")).await.remove(0);
    (words, raw)
}

#[tokio::test]
async fn signed_unsigned_misaligned_and_changed_mail_is_told_apart() {
    let dns = records().await;
    let app = builder().dns(&dns).start().await;
    let to = format!("postmaster@{OURS}");
    let unsigned = SIGNED.split_once("From: ").map(|(_, rest)| format!("From: {rest}")).expect("a From");
    let changed = SIGNED.replace("hungry", "thirsty");
    let stranger = unsigned.replace("football.example.com", "nowhere.example");
    let cases = [
        ("joe@football.example.com", SIGNED, "pass pass pass none", "signed and aligned"),
        ("joe@elsewhere.example", SIGNED, "pass pass pass none", "aligned by its signature alone"),
        ("joe@strict.example", SIGNED, "fail pass pass none", "from an address that SPF does not name"),
        ("joe@football.example.com", &unsigned, "pass none pass none", "aligned by SPF alone"),
        ("joe@elsewhere.example", &unsigned, "pass none fail none", "misaligned"),
        ("joe@strict.example", &changed, "fail neutral fail none", "changed on its way"),
        ("ann@nowhere.example", &stranger, "none none none none", "no records at all"),
    ];
    for (from, content, expected, what) in cases {
        let content = content.trim_end_matches('\n');
        assert_eq!(post(door(&app), from, &to, content).await, "250 2.0.0 Ok: taken", "{what}");
        let (words, raw) = verdicts(&app).await;
        assert_eq!(words, expected, "{what}");
        let field = raw
            .split("Authentication-Results: mail.postroad.test;")
            .nth(1)
            .unwrap_or_else(|| panic!("{raw}"));
        let spf = expected.split(' ').next().expect("a word");
        assert!(field.contains(&format!("spf={spf} ")), "{what}: {field}");
    }
    app.stop().await;
}

// RFC 8601 §5.
#[tokio::test]
async fn results_that_claim_to_be_ours_are_taken_out_and_others_stay() {
    let dns = records().await;
    let app = builder().dns(&dns).start().await;
    let forged = "Authentication-Results: mail.postroad.test; dmarc=pass\nauthentication-results:\n MAIL.postroad.test 1;\n dkim=pass\n\
        Authentication-Results: other.example; spf=pass\nFrom: ann@nowhere.example\nSubject: x\n\nAuthentication-Results: mail.postroad.test; x\n";
    post(door(&app), "ann@nowhere.example", &format!("postmaster@{OURS}"), forged).await;
    let (_, raw) = verdicts(&app).await;
    let (header, body) = raw.split_once("\r\n\r\n").expect("a body");
    assert_eq!(header.to_lowercase().matches("mail.postroad.test;").count(), 1, "{header}");
    assert!(!header.contains("dmarc=pass") && header.contains("other.example; spf=pass"), "{header}");
    assert!(body.contains("mail.postroad.test; x"), "the text is left alone");
    app.stop().await;
}

// D1: trouble with names is no verdict.
#[tokio::test]
async fn trouble_with_names_is_a_temporary_error() {
    let dns = records().await;
    dns.fault("football.example.com", Fault::ServFail);
    let app = builder().dns(&dns).start().await;
    let to = format!("postmaster@{OURS}");
    assert_eq!(post(door(&app), "joe@football.example.com", &to, SIGNED).await, "250 2.0.0 Ok: taken");
    let (words, _) = verdicts(&app).await;
    assert!(words.starts_with("temperror temperror temperror"), "{words}");
    dns.heal();
    post(door(&app), "joe@football.example.com", &to, SIGNED).await;
    assert_eq!(verdicts(&app).await.0, "pass pass pass none");
    app.stop().await;
}

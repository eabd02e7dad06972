//! For clients that speak TLS only: a postroad with a certificate for `localhost`, and what its clients must trust.

use rcgen::{CertifiedKey, KeyPair};
use tempfile::TempDir;

use crate::support::app::TestApp;

/// A postroad that speaks HTTPS.
pub struct Secured {
    /// It.
    pub app: TestApp,
    directory: TempDir,
}

impl Secured {
    /// With the defaults.
    pub async fn start() -> Secured {
        let directory = tempfile::tempdir().expect("a directory");
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let signing_key: KeyPair = signing_key;
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("key.pem"), signing_key.serialize_pem()).expect("written");
        std::fs::write(path("cert.pem"), cert.pem()).expect("written");
        let app = TestApp::builder()
            .set("POSTROAD_HTTPS_ADDR", "127.0.0.1:0")
            .set("POSTROAD_TLS_CERT", &path("cert.pem"))
            .set("POSTROAD_TLS_KEY", &path("key.pem"))
            .start()
            .await;
        Secured { app, directory }
    }

    /// What its clients are told: the host and port, and whom to trust.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let port = self.app.server().ports().https.expect("it is open").port();
        let trusted = self.directory.path().join("cert.pem").display().to_string();
        vec![
            ("POSTROAD_TLS", format!("localhost:{port}")),
            ("NODE_EXTRA_CA_CERTS", trusted.clone()),
            ("REQUESTS_CA_BUNDLE", trusted),
        ]
    }

    /// Ends it.
    pub async fn stop(self) {
        self.app.stop().await;
    }
}

//! The API as a program sees it that knows nothing but the contract: schemathesis reads `openapi.yaml`, makes up requests
//! that keep to it and others that do not, and holds every answer against it (H1).

use std::process::Command;

use crate::support::app::KEY;
use crate::support::database::TestDatabase;
use crate::support::program::{self, Settings};

/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance";

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_that_the_contract_does_not_promise() {
    let root = env!("CARGO_MANIFEST_DIR");
    let program = format!("{root}/target/verifiers/contract/bin/st");
    assert!(
        std::path::Path::new(&program).exists(),
        "schemathesis: scripts/install-test-tools.sh installs it"
    );
    let database = TestDatabase::fresh().await;
    let directory = program::directory();
    let node = Settings::embedded(directory.path()).database(&database.url).start();

    let output = Command::new(program)
        .current_dir(directory.path())
        .args(["run", &format!("{root}/openapi.yaml"), "--url", node.client.url()])
        .args(["--header", &format!("Authorization: Bearer {KEY}")])
        .args(["--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-examples", "5"])
        .args(["--max-time", "60", "--workers", "1", "--request-timeout", "20", "--continue-on-failure"])
        // The one never ends; the other answers YAML, which schemathesis takes for the object that it reads as.
        .args(["--exclude-path", "/v1/events/stream", "--exclude-path", "/openapi.yaml"])
        .args(["--warnings", "off", "--no-color", "--suppress-health-check", "all"])
        .output()
        .expect("schemathesis");

    // What it says of itself under "Errors" (it sends Python's own parser into too deep a recursion now and then) is no
    // answer of ours.
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("\nFailures:\n"), "{said}\n{errors}");
    let cases = said.lines().find(|line| line.contains(" generated")).unwrap_or_default().trim().to_owned();
    let generated: usize = cases.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    assert!(generated > 300, "{said}\n{errors}");
    println!("H1, schemathesis: {cases}");
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
}

//! The container files, read as a person would who trusts them with mail. No engine is needed; `make docker-check` asks
//! Docker itself too, where it is installed.

use std::fs;
use std::path::Path;

use serde_yaml_ng::Value;

/// The default of `POSTROAD_DRAIN_SECS`.
const DRAIN_SECS: u64 = 30;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn compose() -> Value {
    serde_yaml_ng::from_str(&read("docker-compose.yml")).unwrap()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_sequence().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// The rest of each Dockerfile line that begins with the instruction, continuation lines joined.
fn instructions(name: &str) -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    text.lines().filter_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned()).collect()
}

/// The ports of the `POSTROAD_*_ADDR` settings in the image.
fn listening_ports() -> Vec<String> {
    let env = instructions("ENV ").join(" ");
    let settings = env.split_whitespace().filter_map(|pair| pair.split_once('='));
    settings
        .filter(|(name, _)| name.ends_with("_ADDR"))
        .map(|(_, address)| address.strip_prefix("0.0.0.0:").unwrap().to_owned())
        .collect()
}

#[test]
fn compose_publishes_every_port_of_the_image_on_loopback_only() {
    let compose = compose();
    assert!(compose["services"]["postgres"]["ports"].is_null());
    let published = strings(&compose["services"]["postroad"]["ports"]);
    let expected: Vec<_> = listening_ports().iter().map(|port| format!("127.0.0.1:{port}:{port}")).collect();
    assert_eq!(published, expected);
    assert_eq!(instructions("EXPOSE "), [listening_ports().join(" ")]);
}

#[test]
fn compose_starts_postroad_after_its_database_and_lets_it_drain() {
    let postroad = &compose()["services"]["postroad"];
    assert_eq!(postroad["depends_on"]["postgres"]["condition"], "service_healthy");
    let grace: u64 =
        postroad["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap();
    assert!(grace > DRAIN_SECS, "{grace} s");
    assert_eq!(instructions("STOPSIGNAL "), ["SIGTERM"]);
}

// Its Postgres offers no TLS, and another machine is not spoken to in clear unless the URL says so.
#[test]
fn compose_says_that_its_database_is_reached_in_clear() {
    let compose = compose();
    assert!(compose["services"]["postgres"]["ports"].is_null(), "by nobody else");
    let url = compose["services"]["postroad"]["environment"]["DATABASE_URL"].as_str().unwrap();
    assert!(url.ends_with("@postgres/postroad?sslmode=disable"), "{url}");
}

#[test]
fn the_database_of_compose_is_durable() {
    let compose = compose();
    let postgres = &compose["services"]["postgres"];
    let command = strings(&postgres["command"]);
    for setting in ["-cfsync=on", "-cfull_page_writes=on", "-csynchronous_commit=on"] {
        assert!(command.contains(&setting), "{setting}");
    }
    assert_eq!(strings(&postgres["volumes"]), ["postgres:/var/lib/postgresql/data"]);
}

#[test]
fn what_must_outlive_a_container_is_in_a_declared_volume() {
    let compose = compose();
    let data = instructions("VOLUME ").remove(0);
    assert_eq!(strings(&compose["services"]["postroad"]["volumes"]), [format!("postroad:{data}")]);
    assert!(instructions("ENV ").join(" ").contains(&format!("POSTROAD_DATA_DIR={data} ")));
    for service in compose["services"].as_mapping().unwrap().values() {
        for volume in strings(&service["volumes"]) {
            let name = volume.split_once(':').unwrap().0;
            assert!(compose["volumes"].as_mapping().unwrap().contains_key(name), "{name}");
        }
    }
}

#[test]
fn the_image_is_built_with_our_rust_and_does_not_run_as_root() {
    let rust_version = env!("CARGO_PKG_RUST_VERSION");
    assert_eq!(
        instructions("FROM "),
        [&format!("rust:{rust_version}-bookworm AS build"), "debian:bookworm-slim"]
    );
    assert_eq!(instructions("USER "), ["postroad"]);
    assert_eq!(instructions("ENTRYPOINT "), [r#"["postroad"]"#]);
}

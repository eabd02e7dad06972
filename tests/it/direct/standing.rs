//! What the world's DNS says of the addresses that mail leaves from, and of verified domains.

use postroad::account::standing::Lists;
use postroad::dns::Resolver;
use postroad::domain::identity::DomainName;
use postroad::worker::standing::{Standing, tick};
use serde_json::{Value, json};

use super::World;
use crate::support::client::text;

fn lists() -> Lists {
    let zone = |name: &str| DomainName::parse(name).expect("a domain");
    Lists {
        of_ips: vec![zone("ips.list.example"), zone("deaf.list.example")],
        of_domains: vec![zone("names.list.example")],
    }
}

async fn look(world: &World) {
    let server = world.app.server();
    let standing = Standing {
        database: server.database().clone(),
        resolver: server.domains().dns.clone(),
        lists: lists(),
        own_name: None,
    };
    let _: &Resolver = &standing.resolver;
    tick(&standing, server.clock().now()).await.expect("the database answers");
}

fn of<'a>(answers: &'a [Value], name: &str) -> &'a Value {
    answers.iter().find(|answer| answer["name"] == name).unwrap_or_else(|| panic!("{name}: {answers:#?}"))
}

#[tokio::test]
async fn names_that_do_not_lead_back_and_lists_that_have_us_are_told_and_refusals_are_not_taken_for_listings()
{
    let world = World::new().await;
    for (last, more) in [(11, json!({})), (12, json!({ "address6": "::1" }))] {
        let mut body =
            json!({ "address": format!("127.0.0.{last}"), "ehlo": format!("out{last}.acme.example") });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        assert_eq!(world.app.client.post("/v1/ips", body).await.status, 201);
    }
    world.dns.address_of("out11.acme.example", "127.0.0.11").ptr("127.0.0.11", "out11.acme.example");
    // A name that leads back to another address is none.
    world.dns.address_of("out12.acme.example", "127.0.0.99").ptr("127.0.0.12", "out12.acme.example");
    world.dns.address_of("12.0.0.127.ips.list.example", "127.0.0.4");
    world.dns.txt("12.0.0.127.ips.list.example", "see https://list.example/?ip=127.0.0.12");
    for last in [11, 12] {
        world.dns.address_of(&format!("{last}.0.0.127.deaf.list.example"), "127.255.255.254");
    }
    look(&world).await;

    let ips = world.app.client.get("/v1/reputation").await.list("/ips");
    let good = of(&ips, "127.0.0.11");
    assert_eq!(good["fcrdns"], json!({ "status": "ok", "names": ["out11.acme.example"] }));
    let statuses = |ip: &Value| -> Vec<String> {
        ip["zones"].as_array().expect("a list").iter().map(|zone| text(zone, "/status")).collect()
    };
    assert_eq!(statuses(good), ["clear", "unknown"]);
    let bad = of(&ips, "127.0.0.12");
    assert_eq!(bad["fcrdns"]["status"], "mismatch");
    assert_eq!(statuses(bad), ["listed", "unknown"]);
    assert_eq!(bad["zones"][0]["codes"], json!(["127.0.0.4"]));
    assert_eq!(bad["zones"][0]["text"], "see https://list.example/?ip=127.0.0.12");
    assert_eq!(of(&ips, "::1")["fcrdns"], json!({ "status": "mismatch", "names": [] }));
    let metrics = String::from_utf8(world.app.client.download("/metrics").await).expect("text");
    assert!(
        metrics.contains("postroad_ip_listed{ip=\"127.0.0.12\",zone=\"ips.list.example\"} 1"),
        "{metrics}"
    );

    // Who is gone is forgotten; tenants see nothing of the installation's addresses.
    let ips = world.app.client.get("/v1/ips").await.list("/data");
    assert_eq!(world.app.client.delete(&format!("/v1/ips/{}", text(&ips[0], "/id"))).await.status, 204);
    look(&world).await;
    assert_eq!(world.app.client.get("/v1/reputation").await.list("/ips").len(), 2);
    let tenant = world.app.account("tenant").await;
    assert_eq!(tenant.client.get("/v1/reputation").await.body["ips"], Value::Null);
    world.end(&[]).await;
}

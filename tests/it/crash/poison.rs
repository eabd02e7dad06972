//! K14: a mail that takes down whoever touches it.

use super::*;
use crate::support::oracle::{Oracle, Terms};
use crate::support::sink::{Step, at, hold, reset};

/// Claims after which a row is a suspect, and the one in which it is tried alone.
const LIVES: usize = 4;

// K14: the process dies whenever this mail is tried. The others that are in hand at each death are no suspects for
// ever, and all of them get where they should.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_kills_its_worker_is_tried_alone_and_condemned_and_others_flow() {
    let scene = Scene::set().await;
    let oracle = Oracle::new();
    let mut database = scene.database().await;
    let mut poison = None;
    let (mut deaths, mut sent) = (0, 0);
    while deaths < LIVES + 2 {
        let (act, mut touched) = hold();
        scene.sink.set(at(Step::Rcpt).of("poison@"), act.then(reset()));
        let mut node = scene.node("a").start();
        if poison.is_none() {
            poison = oracle.send(&node.client, mail("poison@example.net")).await;
        }
        for number in 0..20 {
            oracle.send(&node.client, mail(&format!("u{number}@example.net"))).await.expect("accepted");
            sent += 1;
        }
        let id = poison.clone().expect("accepted");
        let ended = async {
            let mut watch = scene.database().await;
            loop {
                let left = "SELECT count(*) FROM deliveries d WHERE recipient LIKE 'poison@%'
                    AND EXISTS (SELECT 1 FROM queue q WHERE q.delivery_id = d.id)";
                if number(&mut watch, left).await == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let alive = tokio::select! {
            () = touched.reached() => false,
            () = ended => true,
            () = tokio::time::sleep(PATIENCE) => panic!("neither tried nor ended:\n{}", queue_text(&mut database).await),
        };
        if alive {
            let message = node.client.ended(&id).await;
            let delivery = &message["deliveries"][0];
            assert_eq!(
                (&delivery["status"], &delivery["class"]),
                (&"bounced".into(), &"internal".into()),
                "{message:#}"
            );
            let verdict = oracle
                .check(&scene.database.url, Terms { crashes: deaths, ..Terms::default() }, || scene.taken())
                .await;
            assert_eq!((verdict.ended("delivered"), verdict.ended("bounced")), (sent, 1));
            assert_eq!(number(&mut database, "SELECT count(*) FROM suppressions").await, 0);
            println!("K14: condemned after {deaths} deaths, {sent} others delivered");
            assert!(deaths <= LIVES, "{deaths} deaths");
            return;
        }
        node.kill();
        deaths += 1;
    }
    panic!("a mail took {deaths} processes down:\n{}", queue_text(&mut database).await);
}

//! Sessions are as their use needs them, whatever the server's defaults are.

use postroad::store::Use;

use super::*;

#[tokio::test]
async fn the_servers_defaults_neither_weaken_nor_slow_a_session() {
    let (database, ..) = begin().await;
    let name = database.texts("SELECT current_database()::text").await.remove(0);
    // What managed servers come with, and what a hurried operator sets.
    for default in ["jit = on", "synchronous_commit = off", "idle_in_transaction_session_timeout = 0"] {
        database.change(&format!("ALTER DATABASE \"{name}\" SET {default}")).await;
    }
    for purpose in [Use::Accept, Use::Record, Use::Claim, Use::Serve, Use::Watch, Use::Maintain] {
        let mut link = database.open().link(purpose);
        let session = link.get().await.expect("connected");
        for (setting, wanted) in
            [("jit", "off"), ("synchronous_commit", "on"), ("idle_in_transaction_session_timeout", "5s")]
        {
            let show = sqlx::query_scalar("SELECT current_setting($1)").bind(setting);
            let value: String = show.fetch_one(&mut *session).await.expect("a setting");
            assert_eq!(value, wanted, "{purpose:?}: {setting}");
        }
    }
}

//! Sessions are as their use needs them, whatever the server's defaults are.

use postroad::store::Use;

use super::*;

#[tokio::test]
async fn the_servers_defaults_neither_weaken_nor_slow_a_session() {
    let (database, mut connection, ..) = begin().await;
    let name: String =
        sqlx::query_scalar("SELECT current_database()").fetch_one(&mut connection).await.expect("a name");
    // What managed servers come with, and what a hurried operator sets.
    for default in ["jit = on", "synchronous_commit = off", "idle_in_transaction_session_timeout = 0"] {
        let set = format!("ALTER DATABASE \"{name}\" SET {default}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut connection).await.expect("set");
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

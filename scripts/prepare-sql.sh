#!/usr/bin/env bash
# Refreshes .sqlx/, the checked shapes of all queries, so that postroad builds without a database.
#
#   prepare-sql.sh            writes .sqlx/
#   prepare-sql.sh --check    fails, showing the difference, if .sqlx/ is not what the queries and migrations give
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

mode=${1:-write}
[ "$mode" = write ] || [ "$mode" = --check ] || die "usage: ${0##*/} [--check]"

work=$(mktemp -d)
chmod 711 "$work"
trap 'scripts/scratch-postgres.sh stop "$work/postgres"; rm -rf -- "$work"' EXIT
url=$(scripts/scratch-postgres.sh start "$work/postgres")
bindir=$(postgres_bindir)

shopt -s nullglob
for migration in migrations/*.sql; do
    # Each in one transaction, as sqlx applies them, unless it says otherwise in its first line.
    single=(--single-transaction)
    if head -n 1 "$migration" | grep -q '^-- no-transaction'; then single=(); fi
    "$bindir/psql" --no-psqlrc --quiet --set ON_ERROR_STOP=1 "${single[@]}" --file "$migration" "$url"
done

# The macros write the cache when the crate is compiled, and cargo sees no reason to.
mkdir "$work/sqlx"
touch src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$work/sqlx DATABASE_URL=$url cargo check --quiet --locked --all-targets

if [ "$mode" = --check ]; then
    diff -ruN .sqlx "$work/sqlx" || die ".sqlx/ is out of date: run make sqlx and commit it"
else
    mkdir -p .sqlx
    rm -f -- .sqlx/query-*.json
    for query in "$work"/sqlx/query-*.json; do cp -- "$query" .sqlx/; done
fi

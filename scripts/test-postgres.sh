#!/usr/bin/env bash
# Run by cargo-nextest before the tests (.config/nextest.toml): gives them a scratch Postgres in the environment.
set -euo pipefail
cd "$(dirname "$0")/.."
url=$(scripts/scratch-postgres.sh start "${CARGO_TARGET_DIR:-target}/test-postgres")
echo "POSTROAD_TEST_DATABASE_URL=$url" >>"$NEXTEST_ENV"

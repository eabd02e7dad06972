#!/usr/bin/env bash
# Has cargo-deny check the dependencies by deny.toml. Building it takes a few minutes, so that it is used where it is there,
# or where DENY_INSTALL=1 lets it be installed, as in CI. Licences and sources are held by the tests (it::dependencies) in
# any case.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo deny --version >/dev/null 2>&1; then
    if [ "${DENY_INSTALL:-}" != 1 ]; then
        echo "cargo-deny is not installed: licences and sources are checked by the tests (DENY_INSTALL=1 installs it)"
        exit 0
    fi
    # Without optimisation it is built in half the time, and reads what there is to read all the same.
    cargo install --locked --debug cargo-deny --version 0.20.2
fi
checks=(licenses bans sources)
# The database of advisories is a repository elsewhere, which cannot be reached from everywhere.
if [ "${DENY_OFFLINE:-}" = 1 ]; then
    echo "advisories are not checked: DENY_OFFLINE=1"
elif timeout 60 cargo deny --locked fetch db; then
    checks+=(advisories)
else
    echo "advisories are not checked: their database cannot be reached from here"
fi
cargo deny --locked check "${checks[@]}"

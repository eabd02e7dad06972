#!/usr/bin/env bash
# Builds the release before this one, and prints the path of its program: the newest commit of a day before that of
# HEAD. Once for each commit; its dependencies are those of this tree, as far as they are the same.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

day=$(git log -1 --format=%cd --date=format:%Y-%m-%d HEAD)
commit=$(git rev-list -1 --before="$day 00:00:00" HEAD)
[ -n "$commit" ] || die "there is no commit before $day: is this a shallow clone?"

program=$PWD/target/previous-release/$commit/postroad
if [ ! -x "$program" ]; then
    source=$PWD/target/previous-release/source
    rm -rf -- "$source"
    mkdir -p "$source" "${program%/*}"
    git archive "$commit" | tar -x -C "$source"
    # Else it would be taken for a part of this tree.
    printf '\n[workspace]\n' >>"$source/Cargo.toml"
    (cd "$source" && cargo build --quiet --locked --bin postroad --target-dir ../../ >&2)
    mv -- target/debug/postroad "$program"
    rm -rf -- "$source"
fi
echo "$program"

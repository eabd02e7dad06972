#!/usr/bin/env bash
# Runs every target of fuzz/ for so many seconds, beginning with the mails of tests/data. What breaks one is kept in
# fuzz/artifacts/, and ends this.
#
#   fuzz.sh SECONDS [TARGET…]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

CARGO_FUZZ=0.13.2

[ $# -ge 1 ] || die "usage: ${0##*/} SECONDS [TARGET…]"
seconds=$1
shift
if ! cargo fuzz --version >/dev/null 2>&1; then
    if [ "${FUZZ_INSTALL:-}" != 1 ]; then
        echo "cargo-fuzz is not installed: only the properties were tried (FUZZ_INSTALL=1 installs it)"
        exit 0
    fi
    cargo install --locked cargo-fuzz --version "$CARGO_FUZZ"
fi
# The compiler is a stable one; what libFuzzer needs of it is there all the same, but for the sanitizers.
export RUSTC_BOOTSTRAP=1
flags=(-O -s none --codegen-units 16)
cargo fuzz build "${flags[@]}"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
for target in "${targets[@]}"; do
    corpus=fuzz/corpus/$target
    mkdir -p "$corpus"
    case $target in
    returned | raw_message | header_values | reading) seeds=(tests/data/dsn tests/data/arf) ;;
    *) seeds=() ;;
    esac
    echo "fuzz: $target for $seconds s"
    cargo fuzz run "${flags[@]}" "$target" "$corpus" "${seeds[@]}" -- -max_total_time="$seconds" -max_len=65536 -print_final_stats=1
done

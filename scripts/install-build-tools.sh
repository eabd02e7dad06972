#!/usr/bin/env bash
# Makes sure that postroad can be built: a Rust toolchain, which must be there, and a C compiler for the parts of the
# TLS library that are not Rust.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

command -v cargo >/dev/null || die "there is no cargo: install Rust from https://rustup.rs, then try again"
command -v cc >/dev/null || apt_install build-essential

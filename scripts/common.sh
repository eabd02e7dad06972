# Shell functions that several scripts need. Sourced, never run.
# shellcheck shell=bash

# The account that Postgres runs as when we are root, which it refuses; nothing otherwise.
postgres_account() {
    [ "$(id -u)" = 0 ] || return 0
    for account in postroad postgres nobody; do
        if id -u "$account" >/dev/null 2>&1; then
            echo "$account"
            return 0
        fi
    done
    die "none of the accounts postroad, postgres and nobody exists, and Postgres refuses to run as root"
}

# The directory of the newest Postgres server programs, version 14 or later, in the places where postroad looks.
postgres_bindir() {
    local dir major best='' best_major=0
    for dir in "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /usr/libexec/postgresql* /usr/local/pgsql/bin \
        "$(dirname "$(readlink -f "$(command -v postgres || echo /nowhere/postgres)")")"; do
        if [ ! -x "$dir/initdb" ] || [ ! -x "$dir/postgres" ]; then continue; fi
        major=$("$dir/postgres" --version | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p')
        if [ "${major:-0}" -ge 14 ] && [ "$major" -gt "$best_major" ]; then
            best=$dir best_major=$major
        fi
    done
    [ -n "$best" ] && echo "$best"
}

# Installs Debian packages, and never takes anything away for them.
apt_install() {
    command -v apt-get >/dev/null || die "install $* by hand: this machine has no apt-get"
    local root=(env)
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "install $* as root: apt-get install $*"
        root=(sudo env)
    fi
    echo "Installing $*" >&2
    local removed
    "${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
    removed=$(apt-get -s install --no-install-recommends "$@" | sed -n 's/^Remv \([^ ]*\).*/\1/p' | tr '\n' ' ')
    [ -z "$removed" ] || die "installing $* would remove ${removed}: decide by hand"
    "${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" >&2
}

# Runs a command as root.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

#!/usr/bin/env bash
# A Postgres to throw away, for tests and for the SQL cache: on a Unix socket, without fsync, empty when it starts.
#
#   scratch-postgres.sh start DIR    starts it, or finds it running, and prints its URL
#   scratch-postgres.sh stop DIR     stops it and removes it
#
# The URL names a superuser and the maintenance database. One DIR holds one server; any number of users may start it at
# the same time. It runs until it is stopped.
set -euo pipefail
. "$(dirname "$0")/common.sh"

usage="usage: ${0##*/} start|stop DIR"
[ $# = 2 ] || die "$usage"
action=$1
[ "$action" = start ] || [ "$action" = stop ] || die "$usage"
mkdir -p "$2"
dir=$(cd "$2" && pwd -P)
account=$(postgres_account)

# Runs a command as the server's account, from a directory that it can enter, without the user's own PG variables.
as_account() {
    local unset=() name
    for name in $(compgen -e PG || true); do unset+=(-u "$name"); done
    if [ -n "$account" ]; then
        set -- setpriv --reuid "$account" --regid "$(id -g "$account")" --clear-groups -- "$@"
    fi
    # Neither our lock (9) nor one of the caller's must live as long as the server.
    (
        cd /
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            [ "$fd" -le 2 ] || eval "exec $fd>&-"
        done
        exec env "${unset[@]}" "$@"
    )
}

# The server lives in DIR if its account can go there and the socket's path fits into 107 bytes, else in /tmp.
new_home() {
    local home="$dir/server"
    if [ ${#home} -le 80 ] && { [ -z "$account" ] || as_account test -x "$dir"; }; then
        rm -rf -- "$home"
        mkdir "$home"
    else
        home=$(mktemp -d "/tmp/postroad-scratch.XXXXXXXX")
    fi
    chmod 700 "$home"
    [ -z "$account" ] || chown "$account" "$home"
    echo "$home" >"$dir/home"
}

# `?host=` of a URL takes the path as it is but for the characters that mean something there.
url() {
    local path
    path=$(sed 's/%/%25/g; s/ /%20/g; s/+/%2B/g; s/&/%26/g; s/#/%23/g' "$dir/home")
    echo "postgres://postroad@localhost/postgres?host=$path"
}

# A killed server may stay a zombie, which `pg_ctl status` takes for a server; it has no command line.
is_running() {
    local home pid
    [ -e "$dir/home" ] || return 1
    home=$(cat "$dir/home")
    pid=$(head -n 1 "$home/data/postmaster.pid" 2>/dev/null) || return 1
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$home/data"
}

start() {
    local home
    new_home
    home=$(cat "$dir/home")
    as_account "$bindir/initdb" -D "$home/data" -U postroad --auth=trust --no-sync --no-instructions \
        --encoding=UTF8 --locale=C --lc-ctype=C.UTF-8 >/dev/null
    as_account tee -a "$home/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '"${home//\'/\'\'}"'
fsync = off
full_page_writes = off
max_connections = 300
shared_buffers = 128MB
max_wal_size = 1GB
jit = off
timezone = UTC
CONF
    as_account "$bindir/pg_ctl" start -w -s -D "$home/data" -l "$home/log" ||
        die "it does not start: $(tail -n 20 "$home/log")"
}

stop() {
    [ -e "$dir/home" ] || return 0
    local home
    home=$(cat "$dir/home")
    if is_running; then
        as_account "$bindir/pg_ctl" stop -w -s -m immediate -D "$home/data"
    fi
    rm -rf -- "${home:?}" "${dir:?}/home"
}

bindir=$(postgres_bindir) || die "there are no PostgreSQL server programs: run scripts/install-postgres.sh"
exec 9>"$dir/lock"
flock 9
case $action in
start)
    if ! is_running; then
        # Without fsync, what a crash left is not to be trusted.
        stop
        start
    fi
    url
    ;;
stop) stop ;;
esac

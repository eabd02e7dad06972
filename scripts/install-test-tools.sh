#!/usr/bin/env bash
# Installs what the tests need beyond Postgres: SMTP servers and clients that nobody here wrote (smtp-sink and
# smtp-source from Postfix, swaks, msmtp, nodemailer), a pooler (pgbouncer), DNS servers that sign and check (knot,
# unbound), strace, libfaketime and nftables to inject faults, a browser with axe-core to look at pages, schemathesis to
# make up requests, and cargo-nextest to run it all.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

NEXTEST=0.9.143
NODEMAILER=7.0.13
AXE=4.14.1

# Installs services without starting them: the tests run their own.
apt_install_stopped() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        apt_install "$@"
        return
    fi
    # What Debian asks whether a service may be started; 101 is no.
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    apt_install "$@"
    as_root rm -f "$policy"
    trap - EXIT
}

PATH=$PATH:/usr/sbin:/sbin
services=()
if ! command -v smtp-sink >/dev/null || ! command -v smtp-source >/dev/null; then
    # It gets no configuration, without which its service does not run.
    echo "postfix postfix/main_mailer_type select No configuration" | as_root debconf-set-selections
    services+=(postfix)
fi
command -v pgbouncer >/dev/null || services+=(pgbouncer)
# A name server that signs its zones, and a resolver that checks signatures.
command -v knotd >/dev/null || services+=(knot)
command -v unbound >/dev/null || services+=(unbound)
[ ${#services[@]} = 0 ] || apt_install_stopped "${services[@]}"
missing=()
command -v strace >/dev/null || missing+=(strace)
command -v swaks >/dev/null || missing+=(swaks)
# What swaks speaks TLS with.
perl -MNet::SSLeay -e 1 2>/dev/null || missing+=(libnet-ssleay-perl)
command -v msmtp >/dev/null || missing+=(msmtp)
command -v curl >/dev/null || missing+=(curl)
command -v openssl >/dev/null || missing+=(openssl)
# How Postfix logs in.
compgen -G '/usr/lib/*/sasl2/libplain.so' >/dev/null || missing+=(libsasl2-modules)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v nft >/dev/null || missing+=(nftables)
command -v tc >/dev/null || missing+=(iproute2)
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(libfaketime)
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
[ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
tools=target/test-tools
[ -d "$tools/node_modules/nodemailer" ] && [ -d "$tools/node_modules/axe-core" ] ||
    npm install --prefix "$tools" --no-audit --no-fund --no-save "nodemailer@$NODEMAILER" "axe-core@$AXE" >/dev/null
cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest --version "$NEXTEST"
# Other people's libraries: in target/, each set anew when its list has changed.
#
# Python's of a requirements.txt, in an environment of their own; the copy of the list tells what is there.
python_libraries() {
    local list=$1/requirements.txt environment=$2 copy=$3/requirements.txt
    if cmp -s "$list" "$copy"; then return; fi
    python3 -m venv "$environment" || { apt_install python3-venv && python3 -m venv "$environment"; }
    "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$list"
    cp "$list" "$copy"
}

# Node's of a package-lock.json.
node_libraries() {
    local lists=$1 set=$2
    if cmp -s "$lists/package-lock.json" "$set/package-lock.json"; then return; fi
    mkdir -p "$set"
    cp "$lists/package.json" "$lists/package-lock.json" "$set/"
    npm ci --prefix "$set" --no-audit --no-fund --silent || { rm -f "$set/package-lock.json"; exit 1; }
}

verifiers=target/verifiers
mkdir -p "$verifiers"
python_libraries tests/verifiers "$verifiers/python" "$verifiers"
node_libraries tests/verifiers "$verifiers/node"
# What makes up requests from the contract.
python_libraries tests/verifiers/contract "$verifiers/contract" "$verifiers/contract"
# A server past which mail can be smuggled.
python_libraries tests/verifiers/smuggling "$verifiers/smuggling" "$verifiers/smuggling"
# Verifiers of signatures; one of them is a program of Debian's.
command -v opendkim >/dev/null || apt_install_stopped opendkim opendkim-tools
python_libraries tests/verifiers/dkim "$verifiers/dkim-python" "$verifiers/dkim-python"
node_libraries tests/verifiers/dkim "$verifiers/dkim-node"
# Providers' own clients, which must work against us unmodified.
clients=target/compat-clients
mkdir -p "$clients"
python_libraries tests/compat-clients "$clients/python" "$clients"
node_libraries tests/compat-clients "$clients/node"

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
# Verifiers that are libraries: in target/, each set when its list has changed.
verifiers=target/verifiers
mkdir -p "$verifiers"
if ! cmp -s tests/verifiers/requirements.txt "$verifiers/requirements.txt"; then
    python3 -m venv "$verifiers/python" 2>/dev/null || { apt_install python3-venv && python3 -m venv "$verifiers/python"; }
    "$verifiers/python/bin/pip" install --quiet --disable-pip-version-check -r tests/verifiers/requirements.txt
    cp tests/verifiers/requirements.txt "$verifiers/"
fi
if ! cmp -s tests/verifiers/package-lock.json "$verifiers/node/package-lock.json"; then
    command -v npm >/dev/null || apt_install nodejs npm
    mkdir -p "$verifiers/node"
    cp tests/verifiers/package.json tests/verifiers/package-lock.json "$verifiers/node/"
    npm ci --prefix "$verifiers/node" --no-audit --no-fund --silent || { rm "$verifiers/node/package-lock.json"; exit 1; }
fi
# What makes up requests from the contract.
contract=target/verifiers/contract
if ! cmp -s tests/verifiers/contract/requirements.txt "$contract/requirements.txt"; then
    python3 -m venv "$contract" || { apt_install python3-venv && python3 -m venv "$contract"; }
    "$contract/bin/pip" install --quiet --disable-pip-version-check -r tests/verifiers/contract/requirements.txt
    cp tests/verifiers/contract/requirements.txt "$contract/"
fi
# A server past which mail can be smuggled.
smuggling=target/verifiers/smuggling
if ! cmp -s tests/verifiers/smuggling/requirements.txt "$smuggling/requirements.txt"; then
    python3 -m venv "$smuggling" || { apt_install python3-venv && python3 -m venv "$smuggling"; }
    "$smuggling/bin/pip" install --quiet --disable-pip-version-check -r tests/verifiers/smuggling/requirements.txt
    cp tests/verifiers/smuggling/requirements.txt "$smuggling/"
fi
# Other people's verifiers of signatures: a program of Debian's, and libraries in target/, set anew when their lists
# change.
command -v opendkim >/dev/null || apt_install_stopped opendkim opendkim-tools
lists=tests/verifiers/dkim python=target/verifiers/dkim-python node=target/verifiers/dkim-node
if ! cmp -s "$lists/requirements.txt" "$python/requirements.txt"; then
    python3 -m venv "$python" || { apt_install python3-venv && python3 -m venv "$python"; }
    "$python/bin/pip" install --quiet --disable-pip-version-check -r "$lists/requirements.txt"
    cp "$lists/requirements.txt" "$python/"
fi
if ! cmp -s "$lists/package-lock.json" "$node/package-lock.json"; then
    command -v npm >/dev/null || apt_install nodejs npm
    mkdir -p "$node"
    cp "$lists/package.json" "$lists/package-lock.json" "$node/"
    npm ci --prefix "$node" --no-audit --no-fund --silent || { rm -f "$node/package-lock.json"; exit 1; }
fi
# Providers' own clients, which must work against us unmodified: libraries in target/, set anew when their lists change.
clients=tests/compat-clients set=target/compat-clients
mkdir -p "$set/node"
if ! cmp -s "$clients/requirements.txt" "$set/requirements.txt"; then
    python3 -m venv "$set/python" || { apt_install python3-venv && python3 -m venv "$set/python"; }
    "$set/python/bin/pip" install --quiet --disable-pip-version-check -r "$clients/requirements.txt"
    cp "$clients/requirements.txt" "$set/"
fi
if ! cmp -s "$clients/package-lock.json" "$set/node/package-lock.json"; then
    cp "$clients/package.json" "$clients/package-lock.json" "$set/node/"
    npm ci --prefix "$set/node" --no-audit --no-fund --silent || { rm -f "$set/node/package-lock.json"; exit 1; }
fi

#!/usr/bin/env bash
# Installs Postgres's server programs if there are none. They are all that postroad wants: Debian's own cluster, which
# the package would create and start on port 5432, is not made.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

if bindir=$(postgres_bindir); then
    echo "PostgreSQL: $bindir" >&2
    exit 0
fi
# The package with the tools of all versions comes first: it reads this setting when the server is installed.
apt_install postgresql-common
as_root sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
apt_install postgresql
postgres_bindir >/dev/null || die "PostgreSQL has been installed, and its server programs are not found"

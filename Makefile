# What a person or a machine does with postroad. Everything here works on a fresh Debian or Ubuntu with a Rust
# toolchain: what is missing is installed (as root, or by sudo).

.PHONY: help run test fuzz torture upgrade soak deny bench lint sqlx docker-check

help:
	@echo 'make run           build and start postroad, with a database of its own under ./data'
	@echo 'make test          every test (NEXTEST_ARGS="-E test(name)" for some)'
	@echo 'make fuzz          the properties of parsers, with a hundred thousand inputs each; then the targets of fuzz/'
	@echo 'make torture       the fault tests at full length'
	@echo 'make upgrade       the release before and this one side by side, on one database'
	@echo 'make soak          mixed load and random faults, all at once (SOAK_SECONDS=60, SOAK_SEED)'
	@echo 'make deny          licences, sources and advisories, where cargo-deny is installed (DENY_INSTALL=1 installs it)'
	@echo 'make bench         the throughput bench (BENCH_ARGS for others)'
	@echo 'make lint          formatter and lints'
	@echo 'make sqlx          refresh .sqlx/ after a change of queries or migrations'
	@echo 'make docker-check  check the container files'

# POSTROAD_* and DATABASE_URL of the environment are heeded.
run:
	@scripts/install-build-tools.sh
	@[ -n "$$DATABASE_URL" ] || scripts/install-postgres.sh
	cargo build --release --locked
	@exec ./target/release/postroad serve

# In CI each build is used once: incremental compilation would only cost.
ifdef CI
export CARGO_INCREMENTAL = 0
export NEXTEST_PROFILE ?= ci
endif

test:
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-test-tools.sh
	cargo nextest run --locked $(NEXTEST_ARGS)
	cargo test --locked --doc --quiet

# Properties of what reads foreign octets: commands, mails, replies, addresses, headers. They shrink what they find and
# keep it beside the source, in proptest-regressions/, to be tried first ever after. Each ends by itself within minutes.
# Then, where cargo-fuzz is installed, or FUZZ_INSTALL=1 lets it be, the targets of fuzz/, each for FUZZ_SECONDS.
FUZZ_CASES ?= 100000
FUZZ_SECONDS ?= 60

fuzz:
	PROPTEST_CASES=$(FUZZ_CASES) cargo nextest run --locked --profile fuzz --lib
	scripts/fuzz.sh $(FUZZ_SECONDS)

torture:
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-test-tools.sh
	POSTROAD_TORTURE=1 cargo nextest run --locked --profile torture $(NEXTEST_ARGS)

# Builds the release before this one, which takes its time, and runs both on one database.
upgrade:
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-test-tools.sh
	POSTROAD_PREVIOUS_RELEASE=$$(scripts/previous-release.sh) POSTROAD_TORTURE=1 \
		cargo nextest run --locked --profile upgrade

# Two nodes and a durable Postgres under load of all kinds, and one random fault after the other.
SOAK_SECONDS ?= 60
SOAK_SEED ?= 20261129

soak:
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-test-tools.sh
	SOAK_SECONDS=$(SOAK_SECONDS) SOAK_SEED=$(SOAK_SEED) cargo nextest run --locked --profile soak

deny:
	@scripts/deny.sh

BENCH_ARGS ?= --bench throughput

bench:
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-test-tools.sh
	cargo bench --locked $(BENCH_ARGS)

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@scripts/deny.sh

sqlx:
	@scripts/install-postgres.sh
	scripts/prepare-sql.sh

# Without Docker's compose plugin the tests of the container files are all there is; they need no engine.
docker-check:
	@if docker compose version >/dev/null 2>&1; then docker compose config --quiet && echo 'docker compose: valid'; \
	else echo 'docker compose is not installed: only the tests below'; fi
	cargo nextest run --locked -E 'test(/^packaging::/)'

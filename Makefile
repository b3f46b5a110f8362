# The one entry point. `make` alone lists what there is.
# Needs a Rust toolchain and, for demo and test, root on Debian 12 or later with /dev/net/tun.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
RIG := tests/rig

.PHONY: help build demo test test-matrix test-kills test-monitor test-disk test-rows sbom deb test-deb chaos soak check check-fmt check-clippy check-doc check-deny check-advisories check-compose check-unit check-dashboard fuzz fuzz-keep bench bench-openvpn fleet

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'

build: ## the release binary
	@$(RIG)/install.sh build
	cargo build --release --locked

demo: build ## the whole job on a real OpenVPN, with a verdict per line
	@demo/demo.sh "$${CARGO_TARGET_DIR:-target}/release/ovpn-warden"

sbom: ## what the program is made of, as CycloneDX JSON, in target
	@$(RIG)/sbom.sh

deb: build ## a Debian package, in target/debian
	@conf/deb/build.sh
test-deb: deb ## that package installed, upgraded, removed and purged in a clean Debian, without systemd and under one
	@$(RIG)/deb.sh $$(ls -t "$${CARGO_TARGET_DIR:-target}"/debian/*.deb | head -n 1)
	@$(RIG)/systemd.sh $$(ls -t "$${CARGO_TARGET_DIR:-target}"/debian/*.deb | head -n 1)

# ARGS go to cargo test: make test ARGS='--test it store'
test: ## every test, against a private MySQL and MariaDB and a real OpenVPN
	@$(RIG)/run.sh $(ARGS)

test-matrix: ## the real-OpenVPN tests against every OpenVPN that Debian carries
	@$(RIG)/matrix.sh
test-monitor: ## openvpn-monitor, of PyPI, at the relay of a real OpenVPN
	WARDEN_TEST_MONITOR=$$($(RIG)/monitor.sh) $(RIG)/run.sh --test it real::relay -- --include-ignored
# WARDEN_TEST_SEED=N repeats a scenario
test-kills: ## a hundred kills of the daemon and of OpenVPN under clients, on SQLite and on MySQL
	WARDEN_TEST_KILLS=$${WARDEN_TEST_KILLS:-100} $(RIG)/run.sh --test it real::kills -- --nocapture

test-disk: ## every full disk under a database, those over which it waits for a minute included; four minutes
	$(RIG)/run.sh --test it fake::disk -- --include-ignored --test-threads 1

test-rows: ## how long the database takes on ten million sessions; a quarter of an hour each, 10 GB of disk
	WARDEN_RIG_LARGE=1 $(RIG)/run.sh --test it store::rows $(ARGS) -- --include-ignored --nocapture --test-threads 1

# CHAOS_SEED=N repeats a plan, CHAOS_FAULTS=N has so many; ARGS='mariadb sqlite faults galera group': only these
chaos: ## the daemon, databases and stand-ins for OpenVPN killed, stopped and slowed under 2,000 sessions, and an auditor; 40 minutes
	@$(RIG)/chaos.sh $(ARGS)

soak: ## half an hour of a fault each minute, and whether memory and descriptors grow
	@$(RIG)/chaos.sh soak

# ARGS='storm decode': only these
bench: ## the daemon against its targets: target, measured, verdict
	@benches/bench.sh $(ARGS)
bench-openvpn: ## this daemon, scripts, PAM and RADIUS behind the same OpenVPN: docs/peers.json and its chart
	@benches/peers/peers.sh $(ARGS)
	cargo run -q --locked --example peers-chart
# make fleet ARGS='connect-storm --servers 4 --clients 250'; --help tells the rest
fleet: ## a fleet of stand-ins for OpenVPN, and a daemon under its load
	@$(RIG)/install.sh build
	cargo build --release --locked --bin ovpn-warden
	cargo run --release --locked --example ovpn-warden-fleet -- $(or $(ARGS),--help)

# TARGET=engine SECONDS=600: one target, and how long each runs
fuzz: ## the fuzz targets for a minute each
	@$(RIG)/fuzz.sh run $(or $(SECONDS),60) $(TARGET)
fuzz-keep: ## what they found since, minimised, into the corpus that the tests replay
	@$(RIG)/fuzz.sh keep $(TARGET)

check: check-fmt check-clippy check-doc check-deny check-advisories check-unit ## format, lints, documentation, dependencies, the systemd unit

check-fmt:
	cargo fmt --check
	rustfmt --check fuzz/fuzz_targets/*.rs
check-clippy:
	@$(RIG)/install.sh build
	cargo clippy --all-targets --locked -- -D warnings
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
check-doc:
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --locked
check-deny: ## bans, licences and sources of the dependencies
	@$(RIG)/deny.sh bans licenses sources
check-advisories: ## known vulnerabilities, where the database can be reached
	@$(RIG)/deny.sh advisories
check-compose: ## docker-compose.yml, as far as that goes without an engine
	@$(RIG)/compose-check.sh
check-unit: ## the systemd unit: valid, and at most 1.5 of 10 exposed as systemd counts
	@$(RIG)/unit-check.sh
check-dashboard: ## the Grafana dashboard, by Grafana's own schema; needs npm
	@$(RIG)/dashboard.sh

# ElixirScope Foundation: every command of the project. `make help` lists them.
#
# What a target needs beyond Rust, gcc and Python is installed from the distribution by scripts/need.sh,
# which says so; without root it says what to install and stops. A second run does no work twice.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

CARGO ?= cargo
PROGRAM_LOG := build/demo/system.log
# One package of dpkg's lines: "… libc6:amd64 …" is correlated by "libc6".
PROGRAM_LOG_PATTERN := ([a-z0-9][a-z0-9+.-]+):(amd64|arm64|all|i386)
# promtool is unpacked there by scripts/need.sh, because the package that has it starts a server.
export PATH := $(CURDIR)/build/tools/usr/bin:$(PATH)

CRASH_STATES ?= 100000
CRASH_KILLS ?= 200
STRESS ?= 5

.PHONY: help setup deps build header test test-rust test-crash test-models test-tsan test-c test-elixir test-long \
        museum lint demo demo-c demo-elixir bench bench-config bench-telemetry bench-events bench-disk bench-tails bench-ffi \
        bench-elixir bench-peers bench-library bench-docs clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing, from the distribution
	@scripts/need.sh all
deps: setup ## the same as setup

build: ## the shared and the static C library, the header and a pkg-config file, into build/
	@scripts/need.sh rust gcc
	@scripts/build_libraries.sh

header: ## write what is generated from tables, for committing: C header, docs, Elixir errors
	ESF_REGENERATE=1 $(CARGO) test --locked --quiet --test header --test generated --test config

test: setup ## every test of every language, and the linters; the last line is the count
	@scripts/suite.py

test-rust: ## unit, property, contract and documentation tests of the core
	@scripts/need.sh rust gcc promtool zstd
	$(CARGO) test --locked --workspace

test-crash: ## the store on a simulated disk that stops anywhere, and real kills; CRASH_STATES, CRASH_KILLS
	@scripts/need.sh rust gcc
	ESF_CRASH_STATES=$(CRASH_STATES) ESF_CRASH_KILLS=$(CRASH_KILLS) $(CARGO) test --locked --profile crash \
	  --no-default-features --features crash-tests --test crash -- --nocapture

test-models: ## the loom models of the lock-free structures: every interleaving
	@scripts/need.sh rust gcc
	RUSTFLAGS="--cfg loom" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	  $(CARGO) test --locked --lib --no-default-features --target-dir target-loom --release loom_

test-tsan: ## everything at once under ThreadSanitizer, and mistakes that it must notice; STRESS
	@scripts/need.sh rust-src gcc
	ESF_STRESS=$(STRESS) scripts/tsan.sh --test stress
	@scripts/tsan_planted.py

test-c: ## the C ABI: compilers, sanitizers, valgrind, symbols
	@scripts/need.sh rust gcc g++ valgrind promtool
	@tests/c/run.sh
	@scripts/readme_snippets.py c

test-elixir: ## the Elixir binding: format, warnings, tests, dialyzer
	@scripts/need.sh rust gcc elixir dialyzer
	@scripts/test_elixir.sh
	@scripts/readme_snippets.py elixir

test-long: setup ## the same properties and models, searched much further
	PROPTEST_CASES=20000 $(CARGO) test --locked --release --workspace
	$(CARGO) test --locked --release --lib events::file::tests::every_bit -- --ignored --nocapture
	$(MAKE) --no-print-directory test-crash CRASH_STATES=1000000 CRASH_KILLS=2000
	$(MAKE) --no-print-directory test-models LOOM_MAX_PREEMPTIONS=4
	$(MAKE) --no-print-directory museum
	$(MAKE) --no-print-directory test-tsan
	$(CARGO) clippy --locked --quiet --package foundation-benches --features peers --all-targets -- -D warnings
	$(MAKE) --no-print-directory bench BENCH=--quick

museum: ## mistakes, planted one by one, each of which a model must catch
	@scripts/need.sh rust gcc patch
	@scripts/museum.sh

lint: ## formatters and linters of every language, and the rules of the tree
	@scripts/need.sh rust clang-format shellcheck
	@scripts/lint.sh

demo: ## a real program traced through Elixir, then what it wrote read by C
	@scripts/need.sh rust gcc elixir
	@scripts/demo.sh build/demo/trace.jsonl

demo-elixir: ## the Elixir half of the demo
	@scripts/need.sh rust gcc elixir
	@scripts/demo_elixir.sh build/demo/trace.jsonl

demo-c: build $(PROGRAM_LOG) ## the C program on a million lines of this machine's own logs
	@scripts/demo_c.sh $(PROGRAM_LOG) '$(PROGRAM_LOG_PATTERN)'

$(PROGRAM_LOG): scripts/make_log.py
	@scripts/make_log.py --lines 1000000 $@

# `make bench-events BENCH="--quick"` shows in seconds that everything runs; `--events N` and `--rounds N` there too.
BENCH ?=
BENCH_QUICK = $(filter --quick,$(BENCH))
BENCHES = $(CARGO) run --locked --release --package foundation-benches --features peers --

bench: bench-peers bench-library ## every table, ours beside floors and peers in one run; JSON in target/bench/
	$(BENCHES) run $(BENCH)
	@$(MAKE) --no-print-directory bench-elixir

bench-config: ## the table of the configuration
bench-telemetry: ## the table of telemetry
bench-events: ## the table of events in memory
bench-disk: ## the table of events on disk
bench-tails: ## the table of tails
bench-config bench-telemetry bench-events bench-disk bench-tails: bench-peers
	$(BENCHES) run $(BENCH) $(@:bench-%=%)

bench-ffi: bench-peers bench-library ## the table of the C ABI
	$(BENCHES) run $(BENCH) ffi

bench-peers:
	@scripts/need.sh rust gcc
	@scripts/peers.sh

bench-library:
	@scripts/build_libraries.sh

bench-elixir: ## the Elixir rows, beside persistent_term, ETS, Mnesia, GenServer.call and :counters
	@scripts/need.sh rust gcc elixir
	cd bindings/elixir && MIX_ENV=prod mix run bench/run.exs $(BENCH_QUICK) \
	  --json ../../target/bench/$(if $(BENCH_QUICK),quick/)elixir.json

bench-docs: ## write docs/performance.md from what `make bench` measured last
	$(CARGO) run --locked --release --package foundation-benches -- report docs/performance.md

clean: ## remove everything that was built
	rm -rf target target-loom target-tsan build bindings/elixir/_build

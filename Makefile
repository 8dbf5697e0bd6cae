# Every target is a line or two; the gate (.ci/run) calls the same ones.
.DEFAULT_GOAL := help

demo: ## twenty hosts, good and bad rollouts, attackers, on this machine (ONCE=1: check and exit)
	cargo build --workspace --bins
	target/debug/handover demo $(if $(ONCE),--once)

test: ## all tests that need neither root nor a network
	cargo test --workspace

test-hosts: ## real Debian hosts with systemd, and faults from outside; needs root
	cargo xtask hosts && cargo xtask campaign --sample 24

simulate: ## whole fleets on one thread each, from seeds (SEEDS=1..1000, or one that failed; TRACE=1: all of its story)
	cargo run --profile simulate --package handover-simulate -- --seeds $(or $(SEEDS),1..200) $(if $(TRACE),--trace)

bench: ## measure the budgets, each beside its peer, into docs/benchmarks.md (ONLY=host|chain|control|gates|planning|rollout)
	cargo run --release --package handover-bench -- $(if $(ONLY),--only $(ONLY))

lint: ## formatting, clippy, the crate map, the repository's hygiene, the documentation's links
	cargo fmt --all --check && cargo clippy --workspace --all-targets -- --deny warnings
	cargo xtask deps && cargo xtask tidy

fmt: ## format everything
	cargo fmt --all

deps: ## check the crate map, licences and sources of what we depend on
	cargo xtask deps

fuzz: ## fuzz every parser of outside bytes, SECONDS_EACH (30) each
	fuzz/run $(or $(SECONDS_EACH),30)

docs: ## the crates' documentation, in target/doc
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --document-private-items

dist: ## Debian packages and archives, in dist/
	cargo xtask dist

clean: ## remove what builds left
	cargo clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: demo test test-hosts simulate bench lint fmt deps fuzz docs dist clean help

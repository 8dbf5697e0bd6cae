.DEFAULT_GOAL := help

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

test: ## all tests that need neither root nor a network
	cargo test --workspace

lint: ## formatting, clippy, the crate map, file sizes
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt: ## format everything
	cargo fmt --all

clean: ## remove what builds left
	cargo clean
.PHONY: help test lint fmt clean

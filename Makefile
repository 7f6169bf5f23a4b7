# One command for each habit; `make help` lists them. The scripts behind them are TypeScript, run by the Node 24 that
# package-lock.json pins (the machine's own may be older), so node_modules comes first on the PATH.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
SHELL := /bin/sh
# npm writes this file last, so its age is the age of the installation.
PACKAGES := node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help build up down test check format unit sim bench soak

help: ## This list.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

up: ## Start three whole nodes on this machine, deploy the examples and say what to type next (Linux, root).
	@sh scripts/bootstrap.sh system bed
	@$(MAKE) --no-print-directory --silent $(PACKAGES)
	@node scripts/up.ts

down: ## Remove every trace of `make up`, but for installed packages and .cache/.
	@sh scripts/bootstrap.sh need-linux-root "make down"
	@$(MAKE) --no-print-directory --silent $(PACKAGES)
	@node scripts/down.ts

test: ## Everything: format, lint, types, unit, e2e on real engines, `make up` (Linux, root).
	@sh scripts/bootstrap.sh system test
	@$(MAKE) --no-print-directory --silent $(PACKAGES)
	@node scripts/test.ts

check: $(PACKAGES) ## Format, lint, types: seconds.
	@npm run --silent check

format: $(PACKAGES) ## Rewrite every file in the agreed format.
	@npm run --silent format

unit: $(PACKAGES) ## Every test that needs no engine; any system, any user.
	@vitest run --project 'unit-*'

sim: $(PACKAGES) ## Simulated clusters under every fault: RUNS=… fresh ones (from FROM=…); SEED=… replays one exactly; KIND=storm and KIND=rush are worse.
	@SEED="$(SEED)" RUNS="$(RUNS)" FROM="$(FROM)" KIND="$(KIND)" node --max-semi-space-size=64 test/sim/main.ts

build: $(PACKAGES) ## dist/: the agent and the moot command, for hosts that have Node 24.
	@node scripts/build.ts

soak: ## What must hold every time, many times, on five real hosts and simulated: SEED=… ROUNDS=… SEEDS=… (Linux, root).
	@sh scripts/bootstrap.sh system soak
	@$(MAKE) --no-print-directory --silent $(PACKAGES)
	@SEED="$(SEED)" ROUNDS="$(ROUNDS)" SEEDS="$(SEEDS)" node test/soak/main.ts

bench: ## The figures of the README, on five real hosts (Linux, root).
	@sh scripts/bootstrap.sh system bench
	@$(MAKE) --no-print-directory --silent $(PACKAGES)
	@node test/bench/main.ts

$(PACKAGES): package-lock.json
	@sh scripts/bootstrap.sh packages

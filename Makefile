# The two that matter: make run, make test.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
# Tools are pinned here and built beside the code, so go.mod holds only what the program itself needs.
GOLANGCI_VERSION := v2.15.0
GOLANGCI := .bin/golangci-lint-$(GOLANGCI_VERSION)
DEADCODE_VERSION := v0.52.0
DEADCODE := .bin/deadcode-$(DEADCODE_VERSION)
GOVULNCHECK_VERSION := v1.9.0
GOVULNCHECK := .bin/govulncheck-$(GOVULNCHECK_VERSION)
# Known vulnerabilities as of one day, so that a new report does not fail an unrelated change; make vuln
# VULNDB_VERSION=latest checks today's. They come from the module of the reports, because a module proxy can be reached
# where vuln.go.dev cannot.
VULNDB_VERSION := v0.0.0-20261105234957-e22db6528018
OAPI_VERSION := v2.8.2
OAPI := .bin/oapi-codegen-$(OAPI_VERSION)
# A null among an enumeration's values becomes a constant "<nil>", which no answer has.
GENERATE = $(OAPI) -config http/client/generate/config.yaml http/client/openapi.json | sed '/ = "<nil>"$$/d' | gofmt
# A test that hangs must still end. On two cores with a warm build cache, make test takes less than 10 minutes and make
# test-far less than 30.
TEST_TIMEOUT ?= 20m
FAR_TIMEOUT ?= 40m
TESTFLAGS ?=
# The packages that take longest come first: otherwise the last of them runs alone, and a core is idle.
LONGEST := ./http ./cmd/trust ./projections ./eventstore
# Tests make and drop thousands of files of Postgres, whose content nobody keeps: in memory that takes a third less of the
# kernel's time. Used if the memory is there, programs may be run from it, and TMPDIR does not say otherwise. Folders of
# runs that were killed are removed by the next.
IN_MEMORY = \
	for left in /dev/shm/trust-test.*; do kill -0 "$${left\#\#*.}" 2>/dev/null || rm -rf "$$left"; done; \
	memory=/dev/shm/trust-test.$$$$; \
	free=$$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1) || free=0; \
	if [ -z "$${TMPDIR:-}" ] && [ "$${free:-0}" -gt 6291456 ] && mkdir -m 755 $$memory; then \
		trap 'rm -rf '$$memory EXIT; \
		printf '\043!/bin/sh\n' >$$memory/try; chmod 755 $$memory/try; \
		if $$memory/try; then export TMPDIR=$$memory; fi; \
	fi;
# The heaps of tests are small and short-lived: collecting them a quarter as often saves a tenth of all time.
TESTING = $(IN_MEMORY) export GOGC=$${GOGC:-400};
# Without tables for debuggers a test program is linked in three quarters of the time, and there are forty of them.
LINKING = -ldflags=-s
# RACE=-race runs make test with the race detector, as .ci/run does: it needs a C compiler, and twice the time.
RACE ?=
FUZZTIME ?= 30s
BENCHTIME ?= 3s
BENCHFLAGS ?=
COUNT ?= 1000000
SEED ?=

.PHONY: help
help: ## Show this help
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: run
run: build ## Run the whole system: trust up, data in .trust, Ctrl-C stops it
	bin/trust up

# Built for browsers and embedded in bin/trust, but too large to keep in the repository: without it the console checks
# proofs on the server. wasm_exec.js is of the toolchain that compiles, and only fits what that compiled.
VERIFIER := http/console/assets/built

.PHONY: verifier
verifier: ## Build what browsers check proofs with on /console/proof; run, build and test-far do
	GOOS=js GOARCH=wasm $(GO) build -trimpath -ldflags='-s -w' -o $(VERIFIER)/proof.wasm ./proof/wasm
	gzip -9nf $(VERIFIER)/proof.wasm
	install -m 644 "$$($(GO) env GOROOT)/lib/wasm/wasm_exec.js" $(VERIFIER)/wasm_exec.js

.PHONY: build
build: verifier ## Build bin/trust
	$(GO) build -trimpath -o bin/trust ./cmd/trust

.PHONY: test
test: ## Run the tests that need Go alone, with a Postgres of their own (RACE=-race adds the race detector)
	@# If no Postgres is installed, fetch one now, before many test binaries ask for it.
	@[ -n "$${TEST_DATABASE_URL:-}" ] || $(GO) run -trimpath ./cmd/trust prepare postgres
	@$(TESTING) set -x; \
	$(GO) test $(RACE) $(LINKING) -count=1 -timeout=$(TEST_TIMEOUT) $(TESTFLAGS) $(LONGEST) ./...

# A far test needs another program or many minutes: func TestFar… in a file …_far_test.go with //go:build far. Packages
# without such a file are left out, because they would report that they have no tests to run.
.PHONY: test-far
test-far: verifier ## Run the tests that need more programs or more time (CONTRIBUTING.md says which)
	@packages=$$(find . -path './.*' -prune -o -name '*_far_test.go' -exec dirname {} + | sort -u); \
	[ -n "$$packages" ] || { echo "no far test was found" >&2; exit 1; }; \
	$(TESTING) set -x; \
	$(GO) test -race $(LINKING) -count=1 -tags=far -run='^TestFar' -timeout=$(FAR_TIMEOUT) $(TESTFLAGS) $$packages

.PHONY: soak
soak: ## Append COUNT times (default 1000000) while everything goes wrong, then judge the history; SEED repeats it
	SOAK_COUNT=$(COUNT) SOAK_SEED=$(SEED) $(GO) test -count=1 -v -tags=far \
		-run='^TestFarNothingIsLostWhateverGoesWrong$$' -timeout=0 ./cmd/trust

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (default 30s)
	@found=0; \
	for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "$$package $$target"; found=1; \
			$(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "$$package"; \
		done; \
	done; \
	[ "$$found" = 1 ] || { echo "no fuzz target was found" >&2; exit 1; }

# Both write docs/benchmarks.md, .svg and .json, and the table in the README. BENCHFLAGS='-only append' measures one
# chapter and writes nothing.
.PHONY: bench
bench: build ## Measure this store beside others, on a Postgres of its own with fsync on: docs/benchmarks.md
	$(GO) build -trimpath -o bin/bench ./cmd/bench
	bin/bench $(BENCHFLAGS)

.PHONY: bench-quick
bench-quick: ## Measure the same with less of everything: under 5 minutes
	$(MAKE) bench BENCHFLAGS='-quick $(BENCHFLAGS)'

.PHONY: bench-go
bench-go: ## Run all Go benchmarks for BENCHTIME each (default 3s)
	$(GO) test -run='^$$' -bench=. -benchmem -benchtime=$(BENCHTIME) -timeout=60m ./...

.PHONY: lint
lint: $(GOLANGCI) $(DEADCODE) vuln ## Run the linters of .golangci.yml, and find code that the program never calls
	$(GOLANGCI) run ./...
	@# Code that only tests call is dead too. Of http/client and proof, which other programs use as well, it is not.
	@dead=$$($(DEADCODE) ./cmd/trust | sed '\#^proof/[a-z]*\.go:#d'); [ -z "$$dead" ] || { echo "$$dead" >&2; exit 1; }

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Look for known vulnerabilities that the program reaches, built as go.mod says
	@reports=$$($(GO) mod download -json golang.org/x/vulndb@$(VULNDB_VERSION) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'); \
	rm -rf .bin/vulndb && $(GO) run ./.ci/vulndb "$$reports/data/osv" .bin/vulndb
	GOTOOLCHAIN=$$($(GO) mod edit -json | sed -n 's/.*"Toolchain": "\(.*\)".*/\1/p') \
		$(GOVULNCHECK) -db "file://$(CURDIR)/.bin/vulndb" -tags far ./...

.PHONY: fmt
fmt: $(GOLANGCI) ## Format the code (gofumpt, gci)
	$(GOLANGCI) fmt

.PHONY: client
client: $(OAPI) ## Generate http/client from the document that the API serves
	$(GO) test ./http -count=1 -run '^TestTheClientsDocumentIsTheServedOne$$' -update
	$(GENERATE) > http/client/client.gen.go.new
	mv http/client/client.gen.go.new http/client/client.gen.go

# npm is needed here and nowhere else: what it makes is kept in the repository. sed removes the one rule that asks for a
# picture, and the rules that would only say "the same font on paper".
ASSETS := http/console/assets

.PHONY: assets
assets: ## Make style.css and htmx.min.js of the console again (needs npm and the network)
	npm --prefix $(ASSETS)/src ci --ignore-scripts --no-audit --no-fund
	cd $(ASSETS)/src && node_modules/.bin/sass --load-path=. --load-path=node_modules --style=compressed \
		--no-source-map --no-charset style.scss ../style.css.new
	sed -E 's/background-image:url\([^)]*\);?//g; s/@media print\{[^{}]*\{font-family:inherit\}\}//g' \
		$(ASSETS)/style.css.new > $(ASSETS)/style.css
	rm $(ASSETS)/style.css.new
	cp $(ASSETS)/src/node_modules/htmx.org/dist/htmx.min.js $(ASSETS)/htmx.min.js

.PHONY: screenshots
screenshots: verifier ## Take the pictures of docs/officer.md again (needs Chromium)
	$(GO) test -count=1 -tags=far -run='^TestFarThePicturesShowWhatThePagesShow$$' ./cmd/trust -screenshots
	$(GO) test -count=1 -run='^TestThePicturesHaveTheHeadingsOfTheirPages$$' ./http/console -update

.PHONY: verify
verify: $(GOLANGCI) $(OAPI) ## Check go.mod, format, go vet, the client, and that nothing released has changed
	$(GO) mod tidy -diff
	$(GO) mod verify
	$(GOLANGCI) fmt --diff
	$(GO) vet -tags=far ./...
	GOOS=js GOARCH=wasm $(GO) vet ./proof ./proof/wasm # a web page checks proofs too
	$(GENERATE) | diff http/client/client.gen.go - || { echo "run make client" >&2; exit 1; }
	@# An event's wire form, and a migration, are frozen from the first release that contains them.
	@tag=$$(git describe --tags --abbrev=0 2>/dev/null || true); \
	if [ -z "$$tag" ]; then \
		echo "no release yet: no event and no migration is frozen"; \
	else \
		changed=$$(git diff --no-renames --diff-filter=MDT --name-only "$$tag" -- domain/testdata/events 'migrations/*.sql'); \
		[ -z "$$changed" ] || { echo "changed since $$tag, and must not be:" >&2; echo "$$changed" >&2; exit 1; }; \
	fi

.PHONY: ci
ci: verify lint test test-far ## Everything a change must pass

$(GOLANGCI):
	mkdir -p .bin
	GOBIN=$(CURDIR)/.bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv .bin/golangci-lint $@

$(DEADCODE):
	mkdir -p .bin
	GOBIN=$(CURDIR)/.bin $(GO) install golang.org/x/tools/cmd/deadcode@$(DEADCODE_VERSION)
	mv .bin/deadcode $@

$(GOVULNCHECK):
	mkdir -p .bin
	GOBIN=$(CURDIR)/.bin $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	mv .bin/govulncheck $@

$(OAPI):
	mkdir -p .bin
	GOBIN=$(CURDIR)/.bin $(GO) install github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@$(OAPI_VERSION)
	mv .bin/oapi-codegen $@

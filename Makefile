# Cairn. `make help` lists what there is.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
GO ?= go
BIN := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOLANGCI_VERSION := v2.15.0
GOFUMPT_VERSION := v0.12.0

.DEFAULT_GOAL := help
.PHONY: help build man demo examples test check lint fmt generate race fuzz torture airline conformance local bench clean tools

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

build: ## the binary, into bin/cairn
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/cairn ./cmd/cairn

man: build ## manual pages, into bin/man
	$(BIN)/cairn man $(BIN)/man

demo: build ## a coding agent in a sandbox is killed in the middle of a release and carries on (no key; MODEL=…, SANDBOX=none)
	@CGO_ENABLED=0 $(GO) run -trimpath ./examples/coding-agent/demo -cairn $(BIN)/cairn -model '$(call typed,MODEL)' -sandbox '$(call typed,SANDBOX)'

# Only what stands on the command line of make: a variable of the environment may mean something else.
typed = $(if $(filter command,$(origin $(1))),$($(1)))

examples: ## plays every example on the script model; each checks itself
	$(GO) test -count=1 ./examples/...

test: ## installs what the tests need and runs every test
	./scripts/test

check: lint race ## lint and race detector

lint: tools ## golangci-lint (it checks gofumpt too), go vet
	$(GO) vet ./...
	$(BIN)/golangci-lint run ./...

fmt: tools ## format every Go file
	$(BIN)/gofumpt -w .

generate: ## everything that is generated from the Go types: spec/, the reference parts of docs/
	$(GO) run ./api/gen
	$(GO) test ./internal/config ./internal/cli -run 'TestSchema|TestReference|TestDocs' -update >/dev/null

race: ## the tests that share memory, under the race detector
	$(GO) test -race ./...

fuzz: ## every fuzz target for FUZZTIME (default 10s)
	./scripts/fuzz $${FUZZTIME:-10s}

torture: ## 2,000 kills; KILLS=n SEED=n to choose
	./scripts/torture $${KILLS:-2000}

airline: ## the 100 recorded airline trajectories through the runtime, each killed once
	$(GO) test ./internal/torture -run TestAirline -count=1 -v

conformance: ## the model drivers beside the official SDKs, over all recorded traffic
	./scripts/conformance

local: ## an agent on a model of this machine (Ollama, llama.cpp, LM Studio, vLLM)
	$(GO) run ./examples/local-model

bench: ## the figures of docs/benchmarks.md, beside the raw device
	$(GO) run ./bench $(BENCHFLAGS)

tools: $(BIN)/golangci-lint $(BIN)/gofumpt ## the linters, into bin/

$(BIN)/golangci-lint:
	GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(BIN)/gofumpt:
	GOBIN=$(CURDIR)/$(BIN) $(GO) install mvdan.cc/gofumpt@$(GOFUMPT_VERSION)

clean: ## remove what was built
	rm -rf $(BIN)

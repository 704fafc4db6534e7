# One command per task. `make test` installs what the tests need and runs all of them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.PHONY: run build test tools-for-tests fuzz soak scan churn half-open idle bench reload-bench drain-bench lint image clean

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.release=$(VERSION)
TOOL := $(GO) tool -modfile=tools/go.mod
PEERS := cmd/framegate/testdata/peers
WITH_NODE = PATH="$$(.ci/node-path $(PEERS))"

FUZZTIME ?= 30s# for each fuzz target
FUZZ ?= # a part of a target's name
SOAKTIME ?= 60s# of traffic
CHURNTIME ?= 60s# of connections that come and go
BENCH ?= ../shared/bench
BENCHCONFIG ?= $(abspath $(BENCH))/gateway.yaml
BENCHARGS ?= # such as -only echo-64 -rounds 1

run:
	$(GO) run ./cmd/framegate run --config gateway.yaml

# One static binary for any Linux of this processor.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o framegate ./cmd/framegate

test: tools-for-tests
	$(GO) vet ./...
	$(WITH_NODE) GOGC=300 $(GO) test -race ./... # compiling and the race detector's tests take a tenth less time so
	$(GO) test -run NoAllocation ./proxy/relay ./proxy/reactor

# What the tests need beside Go: Node.js with its packages, Chromium, certutil that makes it trust a root, a compiler for the race detector,
# Redis, sslscan, systemd-analyze.
tools-for-tests: $(PEERS)/node_modules/.package-lock.json
	.ci/packages chromium:chromium certutil:libnss3-tools gcc:build-essential redis-server:redis-server sslscan:sslscan systemd-analyze:systemd

$(PEERS)/node_modules/.package-lock.json: $(PEERS)/package-lock.json
	.ci/node $(PEERS)

fuzz:
	.ci/fuzz $(FUZZTIME) $(FUZZ)

# 200 connections through the binary under the race detector.
soak: tools-for-tests
	$(WITH_NODE) FRAMEGATE_SOAK=$(SOAKTIME) $(GO) test -race -count=1 -timeout 70m -v -run '^TestSoak$$' ./cmd/framegate

# What testssl.sh finds, against the report that is kept; sslscan is in the tests.
scan:
	.ci/packages testssl:testssl.sh
	FRAMEGATE_SCAN=1 $(GO) test -count=1 -timeout 20m -v -run '^TestTestSSL$$' ./cmd/framegate

# An hour's connections in minutes: nothing may grow.
churn:
	FRAMEGATE_CHURN=$(CHURNTIME) $(GO) test -count=1 -timeout 70m -v -run '^TestChurn$$' ./cmd/framegate

# What 9,000 connections that get nowhere with their handshakes do to one that does.
half-open:
	FRAMEGATE_HALF_OPEN=9000 $(GO) test -count=1 -v -run '^TestHalfOpen$$' ./cmd/framegate

# What an idle WebSocket costs over HTTP/2 and HTTP/3.
idle:
	FRAMEGATE_IDLE=1 $(GO) test -count=1 -v -run '^TestIdleOfVersions$$' ./cmd/framegate

# Side by side with nginx and HAProxy.
bench: build
	.ci/packages nginx:nginx haproxy:haproxy
	cd $(BENCH) && $(GO) run . -gateway '$(CURDIR)/framegate run --config $(BENCHCONFIG)' $(BENCHARGS)

# What a hundred reloads do to 2,000 connections, side by side with nginx, HAProxy and Caddy.
reload-bench:
	.ci/packages nginx:nginx haproxy:haproxy caddy:caddy
	FRAMEGATE_RELOAD_BENCH=1 $(GO) test -count=1 -timeout 20m -v -run '^TestReloadBench$$' ./cmd/framegate

# What SIGTERM does to 5,000 connections that are amid messages.
drain-bench:
	FRAMEGATE_DRAIN_BENCH=1 $(GO) test -count=1 -timeout 5m -v -run '^TestDrainBench$$' ./cmd/framegate

lint:
	unformatted=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 --no-run-if-empty gofmt -l)
	if [[ -n $$unformatted ]]; then printf 'not formatted by gofmt:\n%s\n' "$$unformatted"; exit 1; fi
	for os in linux darwin windows; do GOOS=$$os $(GO) build ./... && GOOS=$$os $(GO) vet ./... || exit 1; done
	$(TOOL) staticcheck ./...
	.ci/vulnerabilities $(TOOL) govulncheck ./...

image:
	.ci/image $(VERSION)

clean:
	rm -rf framegate dist

.ONESHELL:

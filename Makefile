# The commands people use. Each target does one thing in a few lines; `make help` lists them.
GO       ?= go
LDFLAGS  := -s -w -X github.com/felid-net/felid/internal/cli.version=$(shell git describe --always --dirty 2>/dev/null || echo unknown)
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
# Packages whose tests make network namespaces, and so need root; elsewhere such a test says NeedsRoot in its name.
ROOTED   := /dataplane_linux|/cni|/internal/(agent|lab)|/test/
PURE     = $(shell $(GO) list ./... | grep -vE '$(ROOTED)')

.PHONY: build native check test test-long test-cluster test-cluster-all lint fuzz generate bench image demo help tools api wine root

build: native ## the programs, for this machine and for Windows
	GOOS=windows GOARCH=amd64 $(BUILD) -o bin/windows-amd64/ ./cmd/felid ./cmd/felid-cni

native:
	$(BUILD) -o bin/ ./cmd/felid ./cmd/felid-cni

check: ## the inner loop: vet for both systems, and every test that needs no root (a few minutes; the first time it compiles an API server)
	@test -z "$$(gofmt -l .)" || { echo "gofmt is needed on:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	$(GO) test -skip NeedsRoot $(PURE)

test: root tools api wine build lint ## everything; needs root (network namespaces); what CI runs
	$(GO) test -timeout 20m -p 1 $$($(GO) list ./... | grep -v /test/)
	$(GO) test -timeout 20m -p 1 -count=1 ./test/... # these build programs, which go does not see when it keeps results
	$(GO) -C test/oracle/cyclonus test ./...
	$(GO) -C test/crds/oldest test -count=1 ./...

test-long: test ## everything, then the random tests for long: worlds, cases, simulations (about an hour; MADEUP=20000 for more cases)
	$(GO) test -timeout 60m -count=1 ./policy ./policy/... ./ipam ./dataplane/delta ./dataplane/flatten ./dataplane/routing -rapid.checks=2000
	$(GO) test -timeout 60m -count=1 ./dataplane/dptest ./dataplane/flatten ./dataplane_windows ./dataplane_linux -run 'Evaluate|SharedCases$$' -made-up=$(or $(MADEUP),5000)
	$(GO) test -timeout 60m -count=1 ./dataplane_linux -run 'SharedCasesWithPackets|ExplainNames' -made-up=3000 -explained=200
	$(GO) test -timeout 60m -count=1 ./test/windows/mixed -seeds=1000

test-cluster: root tools native ## felid on a Kubernetes cluster of three nodes on this machine, dual stack: smoke test and upstream's NetworkPolicy suite
	test/cluster/suite dual-iptables

test-cluster-all: root tools native ## the same for IPv4 alone and IPv6 alone, too, with kube-proxy by nftables, and beside another plugin
	test/cluster/suite dual-iptables ipv4-iptables ipv6-iptables dual-nftables
	LAB_CNI=$(CURDIR)/test/cluster/hooks/felid-guest test/cluster/suite dual-iptables

lint: ## vet for both systems, staticcheck at the version pinned in build/tools
	@test -z "$$(gofmt -l .)" || { echo "gofmt is needed on:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	$(GO) -C test/oracle/cyclonus vet ./...
	$(GO) -C test/crds/oldest vet ./...
	$(GO) build -C build/tools -o ../../bin/ honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck -checks inherit,-ST1000 ./...

fuzz: ## each fuzz target for FUZZTIME (default 20s)
	build/fuzz $(or $(FUZZTIME),20s)

generate: ## deploy/crds and the deep copies, from the types of the API
	$(GO) run ./build/crds

bench: root tools native ## the benchmarks and their figures
	test/bench/run

image: build ## one image for the nodes of both systems (bin/felid-image-oci.tar), without a container engine
	build/image
	$(GO) run ./build/oci

demo: root tools native ## two nodes on this machine: policy written in YAML decides about real packets
	test/demo/run

tools: ## the Debian packages that are missing
	@build/install-debian

api: ## a real API server and etcd for tests, compiled once (minutes) into the user's cache
	@test/cluster/build api

wine: tools ## Wine prefixes for tests of the Windows programs, made once (a minute) into the user's cache
	@test/windows/setup

root:
	@test "$$(id -u)" = 0 || { echo "error: this target makes network namespaces and needs root: sudo make $(MAKECMDGOALS)" >&2; exit 1; }

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 20

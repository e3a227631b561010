# Sampan's Makefile. `make help` lists what there is.

# CLUSTER is where deploy, e2e, demo and bench-start go: devcluster (as root, needs
# nothing else), kind (needs Docker and kind) or current (that of your kubeconfig,
# whose nodes pull the images that make push has pushed).
CLUSTER ?= devcluster
MANAGER_IMG ?= ghcr.io/sampan-dev/manager:dev
SANDBOX_IMG ?= ghcr.io/sampan-dev/sandbox:dev
# NAMESPACE is where the operator runs.
NAMESPACE ?= sampan-system
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

SHELL = /usr/bin/env bash -o pipefail
.SHELLFLAGS = -ec

BIN := $(CURDIR)/bin
CONTROLLER_GEN := $(BIN)/controller-gen
CRDBOUNDS := $(BIN)/crdbounds
GOLANGCI_LINT := $(BIN)/golangci-lint
VULN := $(BIN)/vuln
SBOM := $(BIN)/sbom
LDFLAGS := -X github.com/sampan-dev/sampan/internal/version.linked=$(VERSION)
KUBECTL ?= kubectl
CLUSTER_SH := CLUSTER=$(CLUSTER) NAMESPACE=$(NAMESPACE) MANAGER_IMG=$(MANAGER_IMG) SANDBOX_IMG=$(SANDBOX_IMG) hack/cluster.sh

.PHONY: all
all: build

##@ General

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make \033[36m<target>\033[0m [CLUSTER=devcluster|kind|current]\n"} /^[a-zA-Z_0-9-]+:.*?##/ { printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2 } /^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) }' $(MAKEFILE_LIST)

##@ Development

.PHONY: manifests
manifests: $(CONTROLLER_GEN) $(CRDBOUNDS) ## Generate CRDs and RBAC from the Go types and markers.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CRDBOUNDS) config/crd/bases/*.yaml
	$(CONTROLLER_GEN) rbac:roleName=sampan-manager paths='{./internal/controller/...,./cmd/manager/...}' output:rbac:dir=config/rbac

.PHONY: generate
generate: $(CONTROLLER_GEN) ## Generate the DeepCopy methods.
	$(CONTROLLER_GEN) object paths=./api/...

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code.
	$(GOLANGCI_LINT) fmt

.PHONY: vet
vet: ## Run go vet.
	go vet ./...
	cd hack/devcluster && go vet ./...

.PHONY: lint
lint: $(GOLANGCI_LINT) vuln ## Run golangci-lint, with kube-api-linter on api/, and look for known vulnerabilities.
	$(GOLANGCI_LINT) run ./...
	cd hack/devcluster && $(GOLANGCI_LINT) run --config ../../.golangci.yml ./...

.PHONY: vuln
vuln: $(VULN) ## Look for known vulnerabilities that the programs reach; VULN_FLAGS=-strict fails on those of Go itself, too.
	go mod download -C hack/tools/vulndb golang.org/x/vulndb
	$(VULN) $(VULN_FLAGS) "$$(go list -C hack/tools/vulndb -m -f '{{.Dir}}' golang.org/x/vulndb)/data/osv" ./cmd/...

.PHONY: vulndb
vulndb: ## Take the newest database of vulnerabilities into hack/tools/vulndb.
	cd hack/tools/vulndb && rm -f go.sum && go mod edit -require="golang.org/x/vulndb@$$(go list -m -f '{{.Version}}' golang.org/x/vulndb@latest)" && go mod download golang.org/x/vulndb

.PHONY: verify
verify: manifests generate installer ## Check that generated files and go.mod are up to date.
	go mod tidy -diff
	git diff --exit-code -- api config dist

.PHONY: test
test: ## Run unit and envtest suites; needs Go, gcc, git and python3.
	@assets="$$(hack/devcluster/run envtest)"; set -x; \
	KUBEBUILDER_ASSETS="$$assets" go test -race -timeout 15m $$(go list ./... | grep -v -e /test/e2e -e /test/bench)
	cd hack/devcluster && go test -race ./...
	cd hack/tools/vuln && go test ./...
	cd hack/tools/sbom && go test ./...

.PHONY: test-e2e
test-e2e: export DEVCLUSTER_NODES = 2
test-e2e: cluster deploy ## Run the end-to-end suite on a cluster that is made for it.
	$(CLUSTER_SH) kubeconfig >/dev/null
	NAMESPACE=$(NAMESPACE) KUBECONFIG="$$($(CLUSTER_SH) kubeconfig)" go tool ginkgo --procs=3 --timeout=25m -v ./test/e2e

##@ Build

.PHONY: build
build: ## Build manager, apiserver and agent-runner into bin/.
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN)/manager ./cmd/manager
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN)/apiserver ./cmd/apiserver
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN)/agent-runner ./cmd/agent-runner

.PHONY: sbom
sbom: build $(BIN)/cyclonedx-gomod $(SBOM) ## Write what is in the programs, as CycloneDX, to bin/*.cdx.json, and check it.
	for program in manager apiserver agent-runner; do \
	  $(BIN)/cyclonedx-gomod bin -json -std -version $(VERSION) -output $(BIN)/$$program.cdx.json $(BIN)/$$program && \
	  $(SBOM) $(BIN)/$$program $(BIN)/$$program.cdx.json || exit 1; \
	done

.PHONY: run
run: ## Run the manager on this machine against the current kubeconfig.
	go run ./cmd/manager --operator-namespace $(NAMESPACE) --leader-elect=false --runner-image $(SANDBOX_IMG)

.PHONY: images
images: ## Build the images; with Docker, or with buildah where there is none.
	VERSION=$(VERSION) hack/devcluster/run images --manager $(MANAGER_IMG) --sandbox $(SANDBOX_IMG)

.PHONY: push
push: ## Build the images and push them to the registry in their names.
	VERSION=$(VERSION) hack/devcluster/run images --push --manager $(MANAGER_IMG) --sandbox $(SANDBOX_IMG)

.PHONY: installer
installer: ## Write dist/install.yaml, the one-file install.
	mkdir -p dist
	$(KUBECTL) kustomize config/default > dist/install.yaml

##@ Cluster

.PHONY: cluster
cluster: ## Start the cluster and load the images into it.
	$(CLUSTER_SH) up

.PHONY: cluster-down
cluster-down: ## Remove the cluster.
	$(CLUSTER_SH) down

.PHONY: install
install: ## Install the CRDs into the cluster.
	KUBECONFIG="$$($(CLUSTER_SH) kubeconfig)" $(KUBECTL) apply --server-side --force-conflicts -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CRDs, and with them every AgentTask and Sandbox.
	KUBECONFIG="$$($(CLUSTER_SH) kubeconfig)" $(KUBECTL) delete --ignore-not-found --timeout=120s -k config/crd

.PHONY: deploy
deploy: ## Deploy the operator into the cluster.
	$(CLUSTER_SH) deploy

.PHONY: undeploy
undeploy: ## Remove the operator, the CRDs and every AgentTask from the cluster.
	$(CLUSTER_SH) undeploy

##@ Demo and measurements

.PHONY: demo
demo: cluster deploy ## Watch an agent fix a failing test in a real pod; MODEL_BASE_URL, MODEL and MODEL_API_KEY use a real model.
	KUBECONFIG="$$($(CLUSTER_SH) kubeconfig)" hack/demo/run.sh

.PHONY: demo-down
demo-down: cluster-down ## Remove all that the demo made.

.PHONY: bench
bench: bench-harness bench-sandbox bench-reach bench-record bench-deaths bench-start bench-tenants bench-scale ## Run all benchmarks.

.PHONY: bench-harness
bench-harness: ## Measure the loop and the sandbox server, beside a floor in the same run.
	go run ./test/bench/harness

.PHONY: bench-sandbox
bench-sandbox: ## Measure the sandbox server's requests, each beside a floor.
	go test -run '^$$' -bench . ./internal/sandbox/client

.PHONY: bench-reach
bench-reach: cluster deploy ## Measure the use of a Sandbox by way of the API server, beside floors.
	KUBECONFIG="$$($(CLUSTER_SH) kubeconfig)" go run ./test/bench/reach

.PHONY: bench-deaths
bench-deaths: ## Kill the processes of recorded runs at every step, and count what is lost; DEATHS_FLAGS=-stride=12 is shorter.
	go run ./test/bench/deaths $(DEATHS_FLAGS)

.PHONY: bench-record
bench-record: ## Measure what it takes to keep a run, beside a floor in the same run.
	go run ./test/bench/record

.PHONY: bench-tenants
bench-tenants: ## Measure the manager beside 1,000 of the largest tasks and 100 hostile registries; takes some 8 GiB of memory.
	assets="$$(hack/devcluster/run envtest)"; KUBEBUILDER_ASSETS="$$assets" go run ./test/bench/tenants

.PHONY: bench-scale
bench-scale: ## Measure what a task costs with 100, 1,000 and 10,000 of them, beside bare pods; SCALE_FLAGS=-tasks=100 is shorter.
	assets="$$(hack/devcluster/run envtest)"; KUBEBUILDER_ASSETS="$$assets" go run ./test/bench/scale $(SCALE_FLAGS)

.PHONY: bench-start
bench-start: cluster deploy ## Measure AgentTask create to first model request, cold and from a warm pool, beside the floor of a bare pod; START_FLAGS=-claims leaves the floors out.
	KUBECONFIG="$$($(CLUSTER_SH) kubeconfig)" go run ./test/bench/start $(START_FLAGS)

##@ Tools

$(CONTROLLER_GEN): hack/tools/go.mod
	go build -C hack/tools -o $@ sigs.k8s.io/controller-tools/cmd/controller-gen

$(CRDBOUNDS): hack/tools/go.mod hack/tools/crdbounds/main.go
	go build -C hack/tools -o $@ ./crdbounds

$(GOLANGCI_LINT): hack/tools/lint/go.mod hack/tools/lint/main.go
	go build -C hack/tools/lint -o $@ .

$(VULN): hack/tools/vuln/go.mod hack/tools/vuln/main.go
	go build -C hack/tools/vuln -o $@ .

$(SBOM): hack/tools/sbom/go.mod hack/tools/sbom/main.go
	go build -C hack/tools/sbom -o $@ .

$(BIN)/cyclonedx-gomod: hack/tools/sbom/go.mod
	go build -C hack/tools/sbom -o $@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

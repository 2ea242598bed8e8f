# What each target does stands in README.md.
GO ?= go
BIN := bin
LAKE ?= ./lake
TERRAFORM ?= $(shell command -v terraform)

.PHONY: build demo run test check cover bench bench-drain bench-compact interop soak mutants crash clean

build:
	$(GO) build -o $(BIN)/ ./cmd/...

demo: build
	$(BIN)/buffetctl demo --data-bucket file://$(abspath $(LAKE))

run: build
	$(BIN)/ingestor --embedded --data-bucket file://$(abspath $(LAKE)) --flush-age 5s

test:
	$(GO) test ./...

check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	cd terraform/check && $(GO) vet ./... && $(GO) test -count=1 . -terraform "$(TERRAFORM)"
	@if test -n "$(TERRAFORM)"; then $(TERRAFORM) fmt -check -diff -recursive terraform; \
	else echo "terraform is not installed: terraform fmt and validate are skipped"; fi

cover:
	$(GO) test -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -html=coverage.out -o coverage.html
	@$(GO) tool cover -func=coverage.out | tail -1
	@echo "coverage.html"

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./schema ./columnar ./pipeline ./compaction ./query

# The receive path against the bare Pub/Sub client; DRAIN="--emulator --messages 20000" and so on: see --help.
bench-drain:
	$(GO) build -o $(BIN)/bench-drain ./bench/drain
	$(BIN)/bench-drain $(DRAIN)

# A compaction beside DuckDB's (needs cgo, and 3 GB in /tmp); COMPACT="--shapes small --turns 1" and so on: see --help.
bench-compact:
	$(GO) build -C bench/compact -o $(abspath $(BIN))/bench-compact .
	CGO_ENABLED=1 $(GO) build -C bench/compact -o $(abspath $(BIN))/bench-compact-duck ./duck
	$(BIN)/bench-compact $(COMPACT)

SEEDS ?= 10000
FIRST ?= 1000

soak:
	$(GO) test ./sim -run TestSeeds -v -timeout 0 -seeds $(SEEDS) -first $(FIRST)

mutants:
	$(GO) test ./sim -run 'TestMutants$$' -v -timeout 0 -mutants

KILLS ?= 200
MESSAGES ?= 200000

crash:
	$(GO) test ./e2e -run 'TestCrashLoop$$' -v -timeout 0 -kills $(KILLS) -messages $(MESSAGES)

interop:
	GO="$(GO)" interop/run.sh

clean:
	rm -rf $(BIN) coverage.out coverage.html

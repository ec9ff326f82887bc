# make up      build what is missing and start mimir-rw on this machine (Ctrl-C stops it)
# make test    install what the tests need and run them
# make help    the other targets

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
CRATE   := mimir_rw/native
RUST    := $(CRATE)/Cargo.toml $(CRATE)/Cargo.lock $(shell find $(CRATE)/src -name '*.rs')
DATA    ?= .data
PORT    ?= 8080
BASE_PORT ?= 8001
MODE    ?= read-write
ARGS    ?=

export CARGO_TARGET_DIR ?= $(CURDIR)/target
# Whatever environment the user works in, the build goes into ours.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport CONDA_PREFIX

.DEFAULT_GOAL := help
.PHONY: help install up down status test test-tools reference s3-server bench lint fmt docs e2e fuzz sim containers clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.created:
	@scripts/preflight $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Python dependencies; the package itself is built by the next rule.
$(VENV)/.deps: pyproject.toml $(VENV)/.created
	@echo "==> installing Python dependencies into $(VENV)"
	@$(BIN)/python scripts/dependencies.py runtime | $(BIN)/pip install --quiet --disable-pip-version-check --requirement /dev/stdin 'maturin>=1.9,<2'
	@touch $@

$(VENV)/.native: $(VENV)/.deps $(RUST)
	@echo "==> building the native core (about a minute the first time)"
	@PIP_QUIET=1 $(BIN)/maturin develop --release --quiet
	@touch $@

$(VENV)/.dev: $(VENV)/.deps
	@echo "==> installing development tools into $(VENV)"
	@$(BIN)/python scripts/dependencies.py dev | $(BIN)/pip install --quiet --disable-pip-version-check --requirement /dev/stdin
	@touch $@

install: $(VENV)/.native ## install into .venv, no more

up: install ## build and start the three groups and nginx on this machine; MODE=all: one process
ifeq ($(MODE),all)
	@mkdir -p $(DATA)
	@exec $(BIN)/mimir-rw -target=all -server.http-listen-port=$(PORT) \
		-blocks-storage.tsdb.dir=$(DATA)/tsdb -blocks-storage.filesystem.dir=$(DATA)/blocks \
		-auth.multitenancy-enabled=false -server.pid-file=$(DATA)/mimir-rw.pid $(ARGS)
else
	@scripts/gateway-tools
	@exec $(BIN)/mimir-rw up --data $(DATA) --port $(PORT) --base-port $(BASE_PORT) -- $(ARGS)
endif

down: ## stop what `make up` started
	@scripts/down $(DATA)

status: install ## is it running, is it ready
	@$(BIN)/mimir-rw status --url http://127.0.0.1:$(PORT)

test-tools: $(VENV)/.dev
	@scripts/test-tools

s3-server:
	@scripts/s3-server

test: install test-tools s3-server ## install what the tests need and run them
	@$(BIN)/python -m pytest -n 2 -m 'not slow and not docker' $(ARGS)
	@scripts/cargo-python test --quiet --release --manifest-path $(CRATE)/Cargo.toml

reference:
	@scripts/reference-prometheus

e2e: install test-tools reference ## the slow lanes: crashes, full disks, bombs
	@$(BIN)/python -m pytest -m slow $(ARGS)

fuzz: install ## mutate the input of every native decoder, ARGS='--runs N --seed S'
	@scripts/fuzz $(ARGS)

# A seed with its trace: make sim SEED=7 TRACE=seven.trace
sim: install ## simulated clusters under faults, SEED=n or SEEDS=n [FIRST=n] [SCENARIO=name]
	@$(BIN)/python -m mimir_rw.testing.seeds $(if $(SCENARIO),--scenario=$(SCENARIO)) $(if $(FIRST),--first=$(FIRST)) \
		$(if $(SEED),--seed=$(SEED) $(if $(TRACE),--trace=$(TRACE)),--seeds=$(or $(SEEDS),10)) $(ARGS)

containers: install $(VENV)/.dev ## the compose lane on a real Docker engine
	@scripts/docker-tools
	@compose/local-images/build test >/dev/null
	@$(BIN)/python -m pytest -m docker $(ARGS)

bench: install test-tools ## our cost beside Prometheus and VictoriaMetrics, in one run
	@$(BIN)/python -m tests.bench.run $(ARGS)

lint: install $(VENV)/.dev ## ruff, mypy, rustfmt, clippy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cargo fmt --manifest-path $(CRATE)/Cargo.toml --check
	scripts/cargo-python clippy --quiet --release --manifest-path $(CRATE)/Cargo.toml --all-targets -- -D warnings

fmt: $(VENV)/.dev ## format Python and Rust
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cargo fmt --manifest-path $(CRATE)/Cargo.toml

docs: install ## regenerate the reference pages and the gateway's configuration
	$(BIN)/python -m mimir_rw.config.docs
	$(BIN)/mimir-rw nginx $(foreach g,write backend,$(foreach z,a b c,--$(g) $(g)-$(z):8080)) \
		--read read-1:8080 --read read-2:8080 > nginx/compose.conf

clean: ## remove the build and the virtual environment, keep the data
	rm -rf $(VENV) target

# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock

.DEFAULT_GOAL := help
.PHONY: help demo test compiled check format bench bench-routing chart kubernetes dashboard prometheus-test deploy-test ui-test coverage faults flood soak engines render proto lock clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(BIN)/gateway: pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)  # another Python on top of one breaks it
	$(PIP) --editable .
	@touch $@

$(BIN)/pytest: $(BIN)/gateway
	$(PIP) --editable '.[dev]'
	@touch $@

demo: $(BIN)/gateway  ## a gateway, a sandbox of three providers, and lines to paste
	@exec $(BIN)/gateway demo

test: $(BIN)/pytest  ## every test; about five minutes on two cores
	$(BIN)/pytest -m "not alone and not deploy and not ui" -n auto --dist loadfile \
	  || { echo "Once more, alone: neighbours on the same cores are not what they test."; \
	       $(BIN)/pytest -m "not alone and not deploy and not ui" --last-failed --last-failed-no-failures none; }
	$(BIN)/pytest -m alone

# The wheel as the image has it, beside what its tests need.
build/compiled/gateway: $(BIN)/pytest hatch_build.py $(shell find gateway -name '*.py')
	@rm -rf build && mkdir -p build/compiled
	GATEWAY_COMPILE=1 $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	cd build/compiled && ../../$(BIN)/python -m zipfile -e ../wheel/*.whl . \
	  && ln -s ../../tests ../../config ../../deploy ../../helm ../../*.md ../../*.toml ../../Makefile .

compiled: build/compiled/gateway  ## the way of a request compiled (needs a C compiler), and its tests
	cd build/compiled && PYTHONPATH=$$PWD ../../$(BIN)/pytest -p no:cacheprovider -n auto --dist loadfile \
	  -m "not alone" tests/admin tests/attacks tests/config tests/dialects tests/facts tests/fronts tests/rules \
	  tests/wire tests/workers tests/test_gatekeeper.py tests/test_generation.py tests/test_values.py

coverage: $(BIN)/pytest  ## rules, gatekeeper and facts: every branch by its own tests
	@COVERAGE_FILE=$$(mktemp -u) $(BIN)/python -m tests.own_coverage

check: $(BIN)/pytest  ## format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(BIN)/pytest  ## rewrite the code as `check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.bench: $(BIN)/pytest
	$(PIP) --editable '.[dev,bench]'
	@touch $@

bench: $(VENV)/.bench build/compiled/gateway  ## the gateway beside its peers; make bench BENCH="--quick --only nginx"
	@$(BIN)/python -m tests.benchmarks.bench $(BENCH)

bench-routing: $(BIN)/pytest  ## decision time at 10 and at 10,000 routes
	$(BIN)/python -m tests.benchmarks.bench_routing

chart: $(BIN)/pytest  ## make what the chart has from elsewhere: its schema and tables
	$(BIN)/python -m deploy.chart

dashboard: $(VENV)/.bench  ## make the Grafana dashboard, and its picture by a real Prometheus
	$(BIN)/python -m deploy.grafana.dashboard
	PICTURE=deploy/grafana/dashboard.png $(BIN)/pytest -m deploy tests/deploy/test_prometheus.py

prometheus-test: $(BIN)/pytest  ## rules, metrics and the dashboard, by a real Prometheus; a minute (part of deploy-test)
	$(BIN)/pytest -m deploy tests/deploy/test_prometheus.py

kubernetes: chart  ## make deploy/kubernetes of what the chart renders
	@tests/deploy/tools.sh
	$(BIN)/python -m deploy.kubernetes

deploy-test: $(BIN)/pytest  ## the chart and the image, by real helm, buildah and bubblewrap
	@tests/deploy/tools.sh
	$(BIN)/pytest -m deploy -n 2 --dist loadfile tests/deploy --ignore tests/deploy/test_prometheus.py
	$(BIN)/pytest -m deploy tests/deploy/test_prometheus.py

faults: $(BIN)/pytest  ## every fault with real servers under load; FAULTS=words of one
	@FAULTS="$(FAULTS)" $(BIN)/python -m tests.faults.faults

flood: $(BIN)/pytest  ## a million invented tokens; FLOOD=count
	@FLOOD=$(FLOOD) $(BIN)/python -m tests.faults.flood

$(VENV)/.ui: $(BIN)/pytest
	$(PIP) --editable '.[dev,ui]'
	@touch $@

ui-test: $(VENV)/.ui  ## the console in a real browser, and its API by schemathesis
	$(BIN)/pytest -m ui tests/ui

soak: build/compiled/gateway  ## ten minutes of mixed load and faults, compiled; SOAK=seconds
	@SOAK=$(SOAK) PYTHONPATH=$$PWD/build/compiled $(BIN)/python -m tests.soak.soak

engines: $(BIN)/pytest  ## real nginx, Envoy, Traefik and Caddy with what `gateway render` writes
	$(BIN)/python -m tests.engines.stage
	ENGINES=1 $(BIN)/pytest tests/engines/test_serving.py tests/engines/test_keeping.py tests/engines/test_parity.py

render: $(BIN)/gateway  ## write the examples of deploy/ anew
	@for engine in nginx envoy traefik caddy; do \
	  GATEWAY_SECRET=$$(printf '%032d' 0) ACME_SECRET=none \
	    $(BIN)/gateway render $$engine -c deploy/engines.yaml --into deploy/$$engine || exit 1; done

proto: $(BIN)/pytest  ## generate the messages of Envoy's decision door anew
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. gateway/fronts/ext_authz.proto

lock: $(BIN)/pytest  ## write down the versions that were tested
	$(BIN)/pip freeze --exclude-editable > requirements.lock
	deploy/lock.sh

clean:  ## forget the virtual environment and every cache
	rm -rf $(VENV) .deploy .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

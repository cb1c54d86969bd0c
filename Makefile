# Everything runs from a virtual environment of the clone's own; the first target that needs it makes it.
VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
PACKAGES := core/tenantry_core operator/tenantry_operator router/tenantry_router predictor/tenantry_predictor cli/tenantry
# Python by their first line, not by their name.
SCRIPTS := deploy/images/build
COMPILE = $(UV) pip compile --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --quiet
UV := $(shell command -v uv || echo $(VENV)/bin/uv)

.DEFAULT_GOAL := help
.PHONY: help venv run test e2e unit programs fuzz check chart protocol wheel bench lock clean

help: ## Show what can be made
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## (.*)/  make \1\t\2/' | expand -t 15

venv: $(INSTALLED) ## Make or update the virtual environment from requirements.lock

$(INSTALLED): requirements.lock pyproject.toml scripts/venv
	@scripts/venv $(VENV)
	@touch $@

run: $(INSTALLED) ## Train a model per tenant, serve them all on this machine, go on until Ctrl-C
	@$(PYTHON) -m tenantry.demo

test: $(INSTALLED) programs ## Run all tests: unit, and integration against real parts (no root needed)
	$(PYTHON) -m pytest

e2e: $(INSTALLED) ## Run the end-to-end tests: images, chart and faults on a real node (as root)
	@$(PYTHON) tests/cluster/build.py --node
	@$(PYTHON) tests/cluster/images.py
	$(PYTHON) -m pytest tests/node tests/e2e

unit: $(INSTALLED) ## Run the unit tests only: no cluster, under a minute or two
	$(PYTHON) -m pytest tests/unit

programs: $(INSTALLED)
	@$(PYTHON) tests/cluster/build.py

fuzz: $(INSTALLED) ## Fuzz what reads bytes of strangers: TARGET=tables, default all; SECONDS=60 each
	@$(PYTHON) scripts/fuzz.py --seconds $(or $(SECONDS),60) $(TARGET)

check: $(INSTALLED) ## Lint, format, types, layers, lock, changelog, chart and protocol
	$(VENV)/bin/ruff check . $(SCRIPTS)
	$(VENV)/bin/ruff format --check . $(SCRIPTS)
	$(VENV)/bin/mypy $(PACKAGES) tests benchmarks scripts $(SCRIPTS)
	$(VENV)/bin/lint-imports
	$(PYTHON) scripts/check_release.py
	@$(PYTHON) tests/cluster/build.py --chart
	$(PYTHON) scripts/check_chart.py
	$(PYTHON) scripts/check_monitoring.py
	$(PYTHON) scripts/protocol.py --check

chart: $(INSTALLED) ## Bring what the chart copies from crds/ in line with it
	$(PYTHON) scripts/chart_files.py

protocol: $(INSTALLED) ## Make the protocol's messages from its .proto files
	$(PYTHON) scripts/protocol.py

wheel: $(INSTALLED) ## Build the wheel, install it elsewhere with [all], serve a model from there
	$(PYTHON) scripts/check_wheel.py

bench: $(INSTALLED) programs ## Each claim about speed, measured beside peers: 40 minutes, figures in build/bench
	$(PYTHON) benchmarks/run.py

lock: $(UV) ## Bring requirements.lock and the images' locks in line with pyproject.toml
	$(COMPILE) pyproject.toml --all-extras --group dev -o requirements.lock
	for part in operator router predictor; do \
	  $(COMPILE) pyproject.toml --extra $$part -c requirements.lock --no-annotate -o deploy/images/$$part.lock || exit; done
	echo hatchling | $(COMPILE) - -c requirements.lock --no-annotate -o deploy/images/builder.lock

$(VENV)/bin/uv: | $(INSTALLED)
	$(PYTHON) -m pip install --quiet uv

clean: ## Remove the virtual environment and what tools left behind
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

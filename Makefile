# Needs only Python (3.11 or later, with its venv module) and make; everything else goes into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --retries 8 --timeout 60
# The command line tools are run from the environment, whatever PATH says.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# The tests start hundreds of processes: with no byte code kept each of them would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

PACKAGES := hypervisor guests toolstack launch
PYTEST   ?= $(BIN)/python -m pytest

# One stamp file per lock file, so an environment is built once and again only when a pin changes.
RUN_ENV := $(VENV)/.installed-run
DEV_ENV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo test bench test-long lint style types contracts pytest format wheel pins clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(RUN_ENV) ## create the environment and run the main job
	$(BIN)/claimlab run

# The order is fixed also under -j, so that pytest's summary line is the last thing printed.
test: $(DEV_ENV) ## style, types, import contracts and tests
	@$(MAKE) --no-print-directory style
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory contracts
	@$(MAKE) --no-print-directory pytest

# Writes benchmarks/latest.json and the table of docs/performance.md.
bench: $(DEV_ENV) ## measure every figure beside its anchor
	$(BIN)/python -m benchmarks --markdown docs/performance.md

test-long: $(DEV_ENV) ## the tests that take longer than a minute
	@echo "== pytest: the long tests"
	$(PYTEST) -m long --timeout 1800

lint: $(DEV_ENV) ## style, types and import contracts, no tests
	@$(MAKE) --no-print-directory style types contracts

style: $(DEV_ENV)
	@echo "== ruff: rules"
	$(BIN)/ruff check .
	@echo "== ruff: layout"
	$(BIN)/ruff format --check .

types: $(DEV_ENV)
	@echo "== mypy: strict on $(PACKAGES) benchmarks"
	$(BIN)/mypy
	@echo "== basedpyright: strict on $(PACKAGES)"
	$(BIN)/basedpyright

contracts: $(DEV_ENV)
	@echo "== import-linter: who may import whom"
	$(BIN)/lint-imports

pytest: $(DEV_ENV)
	@echo "== pytest: everything not marked long"
	$(PYTEST) -n auto --dist worksteal

format: $(DEV_ENV) ## lay out the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(DEV_ENV) ## build dist/claimlab-*.whl
	$(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist .

# A new environment resolves pyproject.toml afresh; what it then holds is what is pinned.
PINS   := $(VENV)-pins
FREEZE := $(PINS)/bin/python -m pip --disable-pip-version-check freeze --exclude-editable

pins: ## renew requirements.txt and requirements-dev.txt from pyproject.toml
	rm -rf $(PINS)
	$(PYTHON) -m venv $(PINS)
	$(PINS)/bin/python -m pip install --quiet hatchling editables
	$(PINS)/bin/python -m pip install --quiet --no-build-isolation --editable .
	{ echo "# To run and to install claimlab, everything pinned. Renewed by 'make pins'."; $(FREEZE); } > requirements.txt
	$(PINS)/bin/python -m pip install --quiet --no-build-isolation --editable '.[dev]'
	{ echo "# For 'make test', on top of what runs claimlab, everything pinned. Renewed by 'make pins'."; \
	  echo "-r requirements.txt"; $(FREEZE) | grep -vxFf requirements.txt; } > requirements-dev.txt
	rm -rf $(PINS)

clean: ## remove the environment, the builds and every cache
	rm -rf $(VENV) $(PINS) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(PACKAGES) benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@echo "== environment: creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "claimlab needs Python 3.11 or later; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) cannot create environments: install its venv module (Debian: python3-venv)" >&2; exit 2; }

# The build backend is pinned in requirements.txt too, hence --no-build-isolation.
$(RUN_ENV): requirements.txt pyproject.toml | $(BIN)/python
	@echo "== environment: pinned run-time dependencies and claimlab itself"
	$(PIP) install --quiet --requirement requirements.txt
	$(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

$(DEV_ENV): requirements-dev.txt $(RUN_ENV) | $(BIN)/python
	@echo "== environment: pinned tools for tests, style and types"
	$(PIP) install --quiet --requirement requirements-dev.txt
	@touch $@

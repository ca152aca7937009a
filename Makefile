# Two commands: `make demo` shows the six-agent workflow, `make test` checks everything.
# Both create .venv and install into it when pyproject.toml or constraints.txt changed since the last time.
.DEFAULT_GOAL := help
.PHONY: help demo test lint proofs soak bench clean
.DELETE_ON_ERROR:
# Recipes share one .venv: two installs side by side would break each other.
.NOTPARALLEL:
# Where Python may not keep what it has compiled, each of the many processes that tests start compiles all of it.
unexport PYTHONDONTWRITEBYTECODE

NEW_ENOUGH := -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p $(NEW_ENOUGH) >/dev/null 2>&1 && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Tests wait more than they compute, so there are more of them at a time than cores; `tests/conftest.py` orders them.
PYTEST := $(BIN)/python -m pytest -q
SIDE_BY_SIDE := --numprocesses auto
BRIEF ?= config/briefs/housing_repairs.md

help:
	@echo 'make demo    run the six-agent workflow on real workers; the artifacts are in demo-output/'
	@echo 'make test    ruff, mypy, import-linter and all fast tests'
	@echo 'make proofs  what takes minutes'
	@echo 'make soak    workflows by the hundred while one thing after another breaks (SECONDS=120 SEED=...)'
	@echo 'make bench   measurements beside raw Celery and redis-py (NAMES="context locks")'

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer (with its venv module) is needed; name it with make PYTHON=...' >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[agents,flower]'
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[agents,flower,bench,dev]'
	@touch .venv/installed-demo $@

demo: .venv/installed-demo
	$(BIN)/orchestrator run config/workflows/product.yaml --input brief=@$(BRIEF) --output demo-output

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/installed-dev lint
	$(PYTEST) $(SIDE_BY_SIDE) --dist loadfile --no-loadscope-reorder

proofs: .venv/installed-dev
	$(PYTEST) -m proofs $(SIDE_BY_SIDE) --dist worksteal

soak: .venv/installed-dev
	$(BIN)/python -m tests.proofs.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

bench: .venv/installed-dev
	$(BIN)/orchestrator bench $(NAMES)

clean:
	rm -rf .venv .orchestrator demo-output dist

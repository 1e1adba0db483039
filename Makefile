# `make` lists the targets. `make demo` and `make test` need nothing but git, make and
# Python 3.11: they set up what they use, in .venv.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# Tests with servers and workers mostly wait, so more of them run than there are cores.
# They come first, so that what is quick fills the gaps at the end.  A file stays
# together, for the workers that its tests share.
ASIDE := -n 5 --dist loadfile --no-loadscope-reorder
INTEGRATION := tests/integration tests/smoke
UNIT := tests/unit tests/scripts
RUN := $(BIN)/python

# The standalone program that `make test` tries. The folder dist may hold a release.
TRIED := build/tried
SOURCES := $(shell find evtools man packaging scripts -type f -not -name '*.py[co]')

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# The tests start our programs a thousand times: let them be compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install servers lint types unit integration screens test all-tests coverage \
  bench load demo check binary release smoke rootfs fmt clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv, with everything the other targets need
	@:

# Its output goes to stderr: the stdout of `make demo` belongs to the demo.
$(INSTALLED): pyproject.toml
	@command -v $(PYTHON) >/dev/null || \
	  { echo "evtools needs Python 3.11 or newer, and there is no $(PYTHON)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "evtools needs Python 3.11 or newer; this is $$($(PYTHON) --version 2>&1)." \
	    "Name another with: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into .venv, which takes about half a minute" >&2
	@$(PYTHON) -m venv .venv >&2
	@$(BIN)/python -m pip install -qq --upgrade pip >&2
	@$(BIN)/python -m pip install -qq --editable . --group dev >&2
	@touch $@

servers: ## See to it that the servers and programs of the tests are installed
	@scripts/servers.sh

lint: install ## Check style, layers, documents and manual pages
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || \
	  { echo "Some files are not formatted: make fmt"; exit 1; }
	@$(BIN)/lint-imports --no-logo --no-cache >.venv/imports.log || \
	  { cat .venv/imports.log; exit 1; }
	@failed=0; for script in scripts/check_*.py; do \
	  $(BIN)/python $$script || failed=1; done; exit $$failed
	@mandoc -T lint -W warning man/*.[1-9]

types: install ## Check types
	@$(BIN)/mypy

unit: install ## Run the tests that need no servers
	@$(BIN)/pytest $(UNIT)

integration: install servers ## Run the tests with real brokers and real workers
	@$(BIN)/pytest tests/integration

screens: install ## Take the screens of evtop that the tests compare anew
	@FIX_SCREENS=1 $(BIN)/pytest -n 2 tests/integration/test_evtop_screens.py

test: install servers ## Run everything
	@$(MAKE) -j 2 lint types
	@$(MAKE) --question $(TRIED)/SHA256SUMS || rm -f $(TRIED)/SHA256SUMS
	@$(MAKE) -j 2 $(TRIED)/SHA256SUMS all-tests

# The smoke tests wait for the program, which is built beside the first of the others.
all-tests:
	@SMOKE_DIST=$(TRIED) $(RUN) -m pytest $(ASIDE) $(INTEGRATION) $(UNIT)

# Measuring makes the tests take half as long again.
coverage: install servers ## Run everything, and measure what the tests cover
	@$(BIN)/coverage erase
	@$(MAKE) test RUN="$(BIN)/coverage run"
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

check: lint types unit ## Run what is quick, before a commit

bench: install servers dist/SHA256SUMS ## Compare speed and memory with Celery, and print the table
	@$(BIN)/pytest tests/benchmarks -m bench --capture=no --timeout=900

load: install ## Load the brokers for minutes and count what is lost
	@scripts/servers.sh load
	@$(BIN)/pytest tests/benchmarks tests/integration -m load --capture=no --timeout=900

binary: install ## Build the standalone program with the Python at hand, into dist/
	@$(BIN)/python scripts/binary.py

# For those who want to try it and have not built it.
dist/SHA256SUMS:
	@$(MAKE) binary

$(TRIED)/SHA256SUMS: $(INSTALLED) $(SOURCES)
	@$(BIN)/python scripts/binary.py $(TRIED) >/dev/null

# FROM names folders, if it was built on several machines: then it is put together.
release: install ## Build a release into dist/: a CPython of its own, for old systems, too
	@$(BIN)/python scripts/release.py $(FROM)

smoke: install servers dist/SHA256SUMS ## Try what is in dist/, here
	@$(BIN)/pytest $(ASIDE) tests/smoke

rootfs: install servers ## Try a release in Debian 11 and 13, and with the brokers of Debian 13, as root
	@ls dist/*.deb >/dev/null 2>&1 || $(MAKE) release
	@scripts/rootfs.sh

# 130 and 141: the user has had enough, and so has the reader of the pipe.
demo: install ## Watch a cluster that is simulated in the process
	@if ! [ -t 1 ]; then set -- evdump --demo --timeout 10s; \
	elif [ -x $(BIN)/evtop ]; then set -- evtop --demo; \
	else set -- evdump --demo; fi; \
	$(BIN)/"$$@" || case $$? in 130 | 141) ;; *) exit 1 ;; esac

fmt: install ## Format, and write the generated parts of documents
	@$(BIN)/ruff check --quiet --fix --exit-zero
	@$(BIN)/ruff format --quiet
	@$(BIN)/python scripts/check_docs.py --fix

clean: ## Remove everything that was made here
	@rm -rf .venv build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache \
	  .pytest_cache .ruff_cache .import_linter_cache
	@find evtools scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

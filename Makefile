# `make help` lists the targets. What each needs is installed into .venv on first use.

VENV   := .venv
PYTHON := $(VENV)/bin/python
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help install sweep leaderboard ui test test-all check benchmark reproduce clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.made: Makefile
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bench needs Python 3.11 or newer, and python3 is " + sys.version.split()[0])'
	@python3 -m venv $(VENV) || { echo "python3 cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml constraints.txt
	@echo "bench: installing into $(VENV), about 2 GB; some minutes the first time"
	$(PYTHON) -m pip install --progress-bar on -q -e . -c constraints.txt
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	@echo "bench: installing what the tests need"
	$(PYTHON) -m pip install -q -e '.[test,lint]' -c constraints.txt
	@touch $@

install: $(VENV)/.runtime  ## Install into .venv what a sweep needs

sweep: $(VENV)/.runtime  ## Run the main job; ARGS="--budget smoke" and the like are handed on
	$(PYTHON) -m bench sweep $(ARGS)

leaderboard: $(VENV)/.runtime  ## Show the latest leaderboard
	$(PYTHON) -m bench leaderboard $(ARGS)

ui: $(VENV)/.runtime  ## Serve MLflow's pages
	$(PYTHON) -m bench ui $(ARGS)

test: $(VENV)/.test  ## Run the tests, at most 10 minutes on 2 cores
	$(PYTHON) -m pytest -q --durations=5 $(ARGS)

test-all: $(VENV)/.test  ## Run the slow tests and those in a browser too
	$(PYTHON) -m pytest -q --durations=15 -m "not gpu" $(ARGS)

check: $(VENV)/.test  ## Lint, types, search spaces and dataset cards
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(PYTHON) -m bench check

benchmark: $(VENV)/.made  ## Compare speed with the peers (installs Ray into .venv-benchmark); ARGS="P1 P7" for some
	@test -e .venv-benchmark/.made || python3 -m venv .venv-benchmark
	.venv-benchmark/bin/python -m pip install -q -e '.[benchmark]' -c constraints.txt
	@touch .venv-benchmark/.made
	.venv-benchmark/bin/python tests/benchmarks/run.py $(ARGS)

reproduce: $(VENV)/.runtime  ## Make published numbers again, about an hour; ARGS="N8 N1" for some
	$(PYTHON) tests/reproductions/run.py $(ARGS)

clean:  ## Remove the environments; results stay
	rm -rf $(VENV) .venv-benchmark

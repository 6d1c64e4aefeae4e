# `make help` lists the targets. Each installs what it needs into .venv on first use.

VENV   := .venv
PYTHON := $(VENV)/bin/python
ARGS   ?=

.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help install sweep leaderboard ui test test-all test-gpu kills check benchmark picture peers reproduce clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.made: Makefile
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bench needs Python 3.11 or newer, but python3 is " + sys.version.split()[0])'
	@python3 -m venv $(VENV) || { echo "python3 cannot create a virtual environment; on Debian, run: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml constraints.txt
	@echo "bench: installing into $(VENV) (about 2 GB, a few minutes the first time)"
	$(PYTHON) -m pip install --progress-bar on -q -e . -c constraints.txt
	@touch $@

# One installation, which serves .runtime too. Compiling 18,000 modules takes minutes; Python compiles those it imports.
$(VENV)/.test: $(VENV)/.made pyproject.toml constraints.txt
	@echo "bench: installing into $(VENV), with the test tools (about 2 GB, a few minutes the first time)"
	$(PYTHON) -m pip install -q --no-compile -e '.[test,lint]' -c constraints.txt
	@touch $(VENV)/.runtime $@

install: $(VENV)/.runtime  ## Install the bench into .venv

sweep: $(VENV)/.runtime  ## Run the main job; options go into ARGS, for example ARGS="--budget smoke"
	$(PYTHON) -m bench sweep $(ARGS)

leaderboard: $(VENV)/.runtime  ## Show the latest leaderboard
	$(PYTHON) -m bench leaderboard $(ARGS)

ui: $(VENV)/.runtime  ## Serve MLflow's pages
	$(PYTHON) -m bench ui $(ARGS)

test: $(VENV)/.test  ## Run the fast tests, two at a time
	$(PYTHON) -m pytest -q -n 2 --dist loadfile --durations=5 $(ARGS)

test-all: $(VENV)/.test  ## Run all tests, also slow ones and those in a browser
	$(PYTHON) -m pytest -q -n 2 --dist loadfile --durations=15 -m "not gpu" $(ARGS)

test-gpu: $(VENV)/.test  ## Run the tests that need a GPU, and write what they measured to tests/gpu/measured.md
	$(PYTHON) -m tests.gpu.measure $(ARGS)

kills: $(VENV)/.test  ## Kill real sweeps 120 times and count what is lost, half an hour; ARGS="--kills 10"
	$(PYTHON) -m tests.faults.kills $(ARGS)

check: $(VENV)/.test  ## Check style, types, search spaces and dataset cards
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(PYTHON) -m bench check

benchmark: $(VENV)/.made  ## Compare speed with other tools (installs Ray into .venv-benchmark); ARGS="P1 P7" selects
	@test -e .venv-benchmark/.made || python3 -m venv .venv-benchmark
	.venv-benchmark/bin/python -m pip install -q -e '.[benchmark]' -c constraints.txt
	@touch .venv-benchmark/.made
	.venv-benchmark/bin/python tests/benchmarks/run.py $(ARGS)

picture: $(VENV)/.runtime  ## Draw the picture and write the table of README from results/leaderboards/quick.csv
	$(PYTHON) docs/picture.py

peers: $(VENV)/.runtime  ## Compare scores with other tools, each in a .venv-peers of its own; ARGS="--budget 10m"
	$(PYTHON) tests/benchmarks/side_by_side/run.py $(ARGS)

reproduce: $(VENV)/.runtime  ## Reproduce published results, about an hour; ARGS="N8 N1" selects
	$(PYTHON) tests/reproductions/run.py $(ARGS)

clean:  ## Remove the virtual environments; results are kept
	rm -rf $(VENV) .venv-benchmark .venv-peers

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every target does its own set-up. Python 3.11 or newer, git and make are all that must be there.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help venv demo test test-damage test-engine test-faults test-system lint bench clean

# The newest Python that both supported releases of ansible-core run on, else the machine's own.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

# Downloads and built host images stay outside the checkout and survive `make clean`.
export XDG_CACHE_HOME ?= $(or $(HOME),/tmp)/.cache

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
TESTS ?=
CHECKS ?=
MEASURES ?=
PYTEST_ARGS ?=
SEED ?=
STEPS ?=
STORE ?=

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

venv: $(VENV)/.test ## make .venv with what the tests and the demo need

demo: venv ## a throwaway instance: backup, disaster, restore, proof (no root, no Docker)
	@$(BIN)/python -m tests.demo

test: venv ## the tests that need neither root nor Docker; TESTS=path to choose, PYTEST_ARGS for more
	$(BIN)/python -m pytest $(or $(TESTS),tests/unit tests/integration tests/faults tests/properties) $(PYTEST_ARGS)

test-damage: venv ## 1,000 flipped bytes and 200 cut files of a set, each to be refused; SEED=N repeats a run
	@SEED=$(SEED) $(BIN)/python -m tests.damage

test-engine: venv ## random actions on a store, judged after each one; STEPS=2000, SEED=n repeats a run, STORE=folder
	@STEPS=$(STEPS) SEED=$(SEED) STORE=$(STORE) $(BIN)/python -m tests.engine

test-faults: venv ## runs are killed, cut off and starved everywhere; SEED=n, POINTS=n (0: all), POINT=run:step:fault, LANES=n
	@$(BIN)/python -m tests.faults.harness

test-system: venv ## the tests on real hosts in containers (root on Debian or Ubuntu; installs the engine)
	$(BIN)/python -m pytest $(or $(TESTS),tests/system) $(PYTEST_ARGS)

lint: $(VENV)/.lint ## ruff, mypy, ansible-lint, ansible-test sanity on ansible-core 2.18 and 2.19; CHECKS="ruff mypy" to choose
	$(BIN)/python -m tests.lint $(CHECKS)

bench: venv ## dump, transfer, memory and list figures as a table; MEASURES="dump transfer memory list", BENCH_DATABASE_MB and others in tests/bench
	$(BIN)/python -m tests.bench $(MEASURES)

clean: ## remove what the other targets left in the checkout
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .ansible tests/output
	find . -path ./.git -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

$(VENV)/.pip:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv and pip was found." \
		"Install it (Debian, Ubuntu: apt install python3-venv) or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.test: $(VENV)/.pip pyproject.toml
	$(PIP) install --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP) install --group lint
	@touch $@

# SPDX-License-Identifier: Apache-2.0
# One front door. `make` alone says what there is; CI runs the same targets.

SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV := .venv
RUN := $(VENV)/bin/python -m
PYTHON_FILES := src tests bench examples packages/build.py hatch_build.py

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev assets setup-browser setup-stripe-cli demo test check-front races races-all simulate crash check format openapi screenshots bench clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed ## Make .venv with .venv/bin/holdfirst in it, and the web pages
	@$(VENV)/bin/python packages/build.py --if-possible

setup-dev: $(VENV)/.installed-dev ## The same, with what the tests need

assets: $(VENV)/.installed ## Build the web pages; nothing is done where nothing changed
	@$(VENV)/bin/python packages/build.py

setup-browser: ## Install Chromium for the browser tests, and its headless shell, which is quicker (Debian, Ubuntu)
	@command -v chromium-headless-shell >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq chromium chromium-headless-shell; } >/dev/null 2>&1 || true
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq chromium; } || \
	  { echo "The browser tests need Chromium, and it could not be installed here."; exit 1; }

setup-stripe-cli: $(VENV)/.installed ## Install Stripe's command line for its tests
	@$(VENV)/bin/python packages/build.py --stripe-cli

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed; on Debian and Ubuntu: apt-get install -y make python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.installed
	$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup $(VENV)/.installed-demo ## Play the stories on a throw-away database, then stay up to be tried
	$(VENV)/bin/holdfirst demo

check: setup-dev ## Format, lint, types, imports: no database, seconds
	$(RUN) ruff format --check $(PYTHON_FILES)
	$(RUN) ruff check $(PYTHON_FILES)
	$(RUN) mypy
	$(VENV)/bin/lint-imports --no-logo 2>/dev/null || $(VENV)/bin/lint-imports

check-front: assets ## Types and unit tests of the Vue package
	$(VENV)/bin/python packages/build.py --check

test: ## Everything: the checks, then all tests on a PostgreSQL of their own
	@$(MAKE) --no-print-directory -j3 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) setup-dev check check-front setup-browser
	@$(MAKE) --no-print-directory setup-stripe-cli
	PYTHONDONTWRITEBYTECODE= $(RUN) pytest -n 4 --dist loadgroup --durations 40

races: setup-dev ## Every race: all states of the core, every schedule of two verbs; SCHEDULE=… plays one
	$(RUN) pytest -q -n $(if $(SCHEDULE),0,2) --dist loadgroup $(if $(SCHEDULE),-s -k test_this_schedule) tests/races

races-all: setup-dev ## The same with the long searches and every triple: hours
	$(RUN) pytest -q -n 2 --dist loadgroup -m '' tests/races

EVENTS ?= 10000000
STEPS ?= 1000000
simulate: setup-dev ## Random courses in virtual time; SEED=… runs one again, EVENTS=… STEPS=… more of them
	PYTHONPATH=src:tests $(RUN) simulation --events $(EVENTS) --steps $(STEPS) $(if $(SEED),--seed $(SEED))

crash: setup-dev ## Kill servers, databases and networks for long: HOLDFIRST_KILLS, _OPERATIONS, _FAILOVERS
	HOLDFIRST_IN_FLIGHT=1 HOLDFIRST_KILLS=$${HOLDFIRST_KILLS:-100} HOLDFIRST_FAILOVERS=$${HOLDFIRST_FAILOVERS:-10} \
	  HOLDFIRST_OPERATIONS=$${HOLDFIRST_OPERATIONS:-1000000} \
	  $(RUN) pytest -n 2 --dist loadgroup -rP -m "slow or not slow" tests/crashes

openapi: setup-dev ## Write docs/openapi.json from the code
	$(RUN) holdfirst.web.openapi > docs/openapi.json

screenshots: setup-dev assets setup-browser ## Take the pictures of docs/screenshots
	PYTHONPATH=tests $(RUN) browser.screenshots docs/screenshots

bench: setup-dev ## Print the figures of docs/performance.md, as ratios in one run
	$(VENV)/bin/python bench/run.py

format: setup-dev ## Format the code
	$(RUN) ruff format $(PYTHON_FILES)
	$(RUN) ruff check --fix $(PYTHON_FILES)

clean: ## Remove what make made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

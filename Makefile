# The few commands of this checkout. `make` alone lists them.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin

.PHONY: help install up down test check format pytest simulate mutants package bench lock upgrade

help: ## list these commands
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-8s %s\n' "$$name" "$$text"; done

install: ## make .venv and install the project with all its tests need (quick when nothing changed)
	@PYTHON="$(PYTHON)" tools/install.sh

# What the server hands out under /docs is made from the source, and kept out of it.
PAGES := src/interlock/api/pages/llms.txt
$(PAGES): $(wildcard docs/*.md src/interlock/operations/*.py src/interlock/operations/*/*.py src/interlock/contract/*.py src/interlock/api/openapi.py \
		tools/pages/*.py tools/states.py) | install
	@$(BIN)/python -m tools.pages

up: install $(PAGES) ## start a server on this machine and print how to use it
	@$(BIN)/python tools/local_server.py up

down: install ## stop the server that `make up` started
	@$(BIN)/python tools/local_server.py down

test: check pytest simulate package ## everything that has to pass: checks, tests, wheel, smoke run

check: install ## lint, format, types, import order and the rules of the tree
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/python tools/check_tree.py
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

format: install ## put the source into shape
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format --quiet

# Most of the tests wait for processes of their own, so that two halves at once need little more time than the longer.
PROCESS_TESTS := $(addprefix tests/,contributing crash e2e faults histories overload simulation)
HALVES := pytest-processes pytest-rest

.PHONY: $(HALVES)
pytest: install $(PAGES)
	@tools/debian.sh curl=curl strace=strace
	@$(MAKE) -j2 $(HALVES)

pytest-processes:
	$(BIN)/pytest -q -m "not long" -o cache_dir=.pytest_cache/processes $(PROCESS_TESTS)

pytest-rest:
	$(BIN)/pytest -q -m "not long" -o cache_dir=.pytest_cache/rest $(addprefix --ignore=,$(PROCESS_TESTS))

simulate: install ## simulate a server with faults for 5,000 seeds
	$(BIN)/python -m simulation run

mutants: install ## change the rules and the stop in every small way, and see that a test notices
	$(BIN)/python -m tools.mutants

package: install
	tools/package.sh

bench: install ## measure, beside raw baselines of the same machine
	$(BIN)/python -m benchmarks

lock: install ## pin what pyproject.toml asks for
	tools/lock.sh

upgrade: install ## pin the newest of everything
	tools/lock.sh --upgrade

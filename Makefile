# Everything one does with a clone.  Each target sets up first what it needs, which takes no time when it is there.

BIN := .venv/bin
PYTHON_DIRS := packages tests bench tools

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests run stop test test-fast check format bench docs constraints clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## install what is missing: system packages, PgBouncer, and the Python packages in .venv
	@scripts/setup.sh

setup-tests:  ## fetch what only tests use: a browser, Node.js, rsyslog, promtool, the JDBC driver
	@scripts/setup-tests.sh

run: setup  ## start the service with a first cluster and pool, and print how to reach them; Ctrl-C ends it
	@exec $(BIN)/cenote quickstart

stop: setup  ## stop the service and every server that it has started
	@$(BIN)/cenote stop

test: setup setup-tests  ## run all tests
	$(BIN)/pytest tests/unit tests/integration tests/contract

test-fast: setup  ## run the tests that start no process
	$(BIN)/pytest tests/unit

check: setup  ## check format, lint, types, layers, and that generated code is up to date
	$(BIN)/ruff format --check $(PYTHON_DIRS)
	$(BIN)/ruff check $(PYTHON_DIRS)
	$(BIN)/mypy $(PYTHON_DIRS)
	$(BIN)/lint-imports
	$(BIN)/python -m tools.other_engines --check
	$(BIN)/python tools/unasync.py --check

format: setup  ## rewrite the code in the project's format, and the sync client from the async one
	$(BIN)/ruff format $(PYTHON_DIRS)
	$(BIN)/python -m tools.other_engines
	$(BIN)/python tools/unasync.py
	$(BIN)/ruff check --fix $(PYTHON_DIRS)

bench: setup  ## measure, print the table, and write build/bench.json
	$(BIN)/python -m bench

docs: setup $(BIN)/mkdocs  ## build the documentation as a site into build/site; broken links fail
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "the site is in build/site; to read and search it: python3 -m http.server --directory build/site 8000"

$(BIN)/mkdocs: pyproject.toml constraints.txt | setup
	@$(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --constraint constraints.txt --group docs
	@touch $@

constraints: setup  ## write constraints.txt anew, from the newest packages that fit
	scripts/constraints.sh

clean:  ## remove the virtual environment, caches and what was built; data of the service stays
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find packages tests bench tools -name __pycache__ -prune -exec rm -rf {} +

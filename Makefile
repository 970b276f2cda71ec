# Development tasks.  Each target first runs the set-up that it needs, which is a no-op when up to date.

BIN := .venv/bin
PYTHON_DIRS := packages tests bench faults tools

# Tests wait for servers more than they compute.
PROCESSORS := $(shell nproc)
WORKERS ?= $(shell expr $(PROCESSORS) + 2)
PYTEST_OPTIONS := $(if $(SEED),--randomly-seed=$(SEED)) $(if $(filter written,$(ORDER)),-p no:randomly)

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests setup-bench run stop test coverage test-fleet test-fast check format bench faults first-hour docs constraints clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## install missing dependencies: system packages, PgBouncer, and Python packages in .venv
	@scripts/setup.sh

setup-tests:  ## install test dependencies: a browser, Node.js, rsyslog, promtool, the JDBC driver
	@scripts/setup-tests.sh

setup-bench:  ## install the benchmark's load generator, wrk
	@scripts/setup-bench.sh

# Only from the command line: a PORT in the environment is another program's.
RUN_OPTIONS := $(if $(filter command line,$(origin PORT)),--port $(PORT))

run: setup  ## start the service with a sample cluster and pool, and print how to connect; Ctrl-C stops it; PORT=8444
	@exec $(BIN)/cenote quickstart $(RUN_OPTIONS)

stop: setup  ## stop the service and all servers it started
	@$(BIN)/cenote stop

test: setup setup-tests  ## run all tests in random order; SEED=… repeats one, ORDER=written takes that of the files
	$(BIN)/pytest $(PYTEST_OPTIONS) -n $(WORKERS) $(COVERAGE) tests/unit tests/integration tests/contract

coverage: COVERAGE := --cov --cov-report=json:build/coverage/report.json
coverage: test  ## run all tests, which takes twice as long, and print the branch coverage

test-fleet: setup setup-tests  ## run the contract tests through the API of each of three hosts; SEED=…
	for host in 1 2 3; do \
	  CENOTE_TEST_API=$$host $(BIN)/pytest $(PYTEST_OPTIONS) -n $(PROCESSORS) \
	    $$(grep -l tests.support.through tests/contract/*.py) || exit 1; \
	done

test-fast: setup  ## run the unit tests, which start no process
	$(BIN)/pytest $(PYTEST_OPTIONS) -n $(PROCESSORS) tests/unit

check: setup  ## check formatting, lint, types, import layers and generated code
	$(BIN)/ruff format --check $(PYTHON_DIRS)
	$(BIN)/ruff check $(PYTHON_DIRS)
	$(BIN)/mypy $(PYTHON_DIRS)
	$(BIN)/lint-imports
	$(BIN)/python -m tools.other_engines --check
	$(BIN)/python tools/unasync.py --check

format: setup  ## format the code and regenerate the client's generated modules
	$(BIN)/ruff format $(PYTHON_DIRS)
	$(BIN)/python -m tools.other_engines
	$(BIN)/python tools/unasync.py
	$(BIN)/ruff check --fix $(PYTHON_DIRS)

bench: setup setup-bench  ## run the benchmarks, print the table and write build/bench.json
	$(BIN)/python -m bench

faults: setup  ## run all batteries of faults, for many hours; KILLS=… SEED=…
	$(BIN)/python -m faults

first-hour:  ## as root: follow the README on a bare Debian in build/first-hour; SUITE=trixie ACCOUNT=newcomer or root
	@tools/first-hour.sh

docs: setup $(BIN)/mkdocs  ## build the documentation site in build/site; fails on broken links
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Site built in build/site. Serve it with: python3 -m http.server --directory build/site 8000"

$(BIN)/mkdocs: pyproject.toml constraints.txt | setup
	@$(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --constraint constraints.txt --group docs
	@touch $@

constraints: setup  ## regenerate constraints.txt from the newest compatible packages
	scripts/constraints.sh

clean:  ## remove the virtual environment, caches and build output; service data is kept
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find packages tests bench faults tools -name __pycache__ -prune -exec rm -rf {} +

# Everything runs in .venv, made from requirements*.txt by the first target that needs it.
# `make demo` watches fraud being caught; `make test` runs the tests. Neither needs anything but Python and make.

PYTHON ?= $(shell for python in python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
STAMP := .venv/.installed
STAMP_DEV := .venv/.installed-dev
STAMP_FUZZ := .venv/.installed-fuzz
STAMP_AUDIT := .venv/audit/.installed
SECONDS ?= 600

.PHONY: demo setup test check format lint types bench bench-peers fuzz audit kills chaos lock clean fitting

demo: $(STAMP)
	@$(BIN)/python -m fraudflow demo $(ARGS)

setup: $(STAMP) $(STAMP_DEV)

test: $(STAMP_DEV)
	$(BIN)/python -m pytest $(ARGS)

check: lint types test

lint: $(STAMP_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

types: $(STAMP_DEV)
	$(BIN)/mypy

format: $(STAMP_DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP_DEV)
	$(BIN)/python -m benchmarks

# Needs Java with Maven, and an hour: the same topology on other systems, side by side.
bench-peers: $(STAMP_DEV)
	$(BIN)/python -m benchmarks.peers $(ARGS)

# Minutes-long faults done to a running system, and a table of what they cost; `make chaos ARGS=--quick`.
chaos: $(STAMP_DEV)
	$(BIN)/python -m tests.chaos $(ARGS)

# Any bytes into whatever reads bytes, for SECONDS: `make fuzz SECONDS=3600`, or some: `make fuzz ARGS="rules labels"`.
fuzz: $(STAMP_FUZZ)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

# Needs a network: whether a vulnerability is known of any pinned package. What can't be looked up is an error, too.
audit: $(STAMP_AUDIT)
	@for file in requirements*.txt; do echo "$$file"; .venv/audit/bin/pip-audit --strict --disable-pip --require-hashes \
		--progress-spinner off --vulnerability-service osv -r $$file || exit 1; done

$(STAMP): requirements.txt | fitting
	@$(if $(PYTHON),,echo "fraudflow needs Python 3.11 or 3.12, which is not on the PATH: install it from python.org or your system's packages (or: make PYTHON=/path/to/python3.12)" >&2; exit 1)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"fraudflow needs Python 3.11 or 3.12, this is {v[0]}.{v[1]}: install one of them from python.org or your system packages, then: make PYTHON=python3.12")'
	@echo "Installing into .venv with $(PYTHON)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

fitting:
	@test ! -e .venv || $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null || { echo "the Python that .venv was made with is gone, or is not 3.11 or 3.12: make clean, then try again" >&2; exit 1; }

$(STAMP_DEV): requirements-dev.txt $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(STAMP_FUZZ): requirements-fuzz.txt $(STAMP_DEV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-fuzz.txt
	@touch $@

$(STAMP_AUDIT): requirements-audit.txt $(STAMP)
	@$(BIN)/python -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.txt
	@touch $@

# The flow killed 20 times in a row under load, with 1 and 2 processes: about 5 minutes.
kills: $(STAMP_DEV)
	FRAUDFLOW_KILLS=20 $(BIN)/python -m pytest tests/integration/test_kills.py $(ARGS)

# Needs uv: pins the newest versions that the .in files allow, with hashes and without index addresses.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements.in -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements-dev.in -o requirements-dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements-fuzz.in -o requirements-fuzz.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements-audit.in -o requirements-audit.txt

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz reports

# Two commands matter: make demo, make test. Everything is installed into .venv by the first that runs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := gateway adapters pipelines tests

.PHONY: install demo test check bench torture interop format lock clean

install: $(VENV)/installed

# One hash-checked install of everything, then the project itself, which needs nothing more
$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "onpath needs Python 3.11 or newer (make PYTHON=python3.12 ...)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || .ci/install-venv $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	$(BIN)/onpath demo $(ARGS)

# Side by side, for most tests wait for sockets; those that judge timing run after the others, one by one
test: install
	PYTHONDEVMODE=1 $(BIN)/python -m pytest -q -n 3 -m "not alone" $(ARGS)
	PYTHONDEVMODE=1 $(BIN)/python -m pytest -q -m alone $(ARGS) || [ $$? = 5 ]

check: install
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	for file in configs/*.yaml; do $(BIN)/onpath check $$file || exit; done

format: install
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: install
	$(BIN)/python -m tests.benchmarks $(ARGS)

# What it must survive, at SCALE=smoke|change|nightly|release; a report in torture.md
SCALE ?= smoke
torture: install
	$(BIN)/python -m tests.torture --scale $(SCALE) $(ARGS)

# Peers that nobody here wrote; installs them (Debian packages as root or by sudo, npm packages locally)
interop: install
	.ci/install-peers
	$(BIN)/python -X dev -m pytest -q tests/interop $(ARGS)

# After a change of dependencies in pyproject.toml; hashes for all platforms, no registry named
lock: install
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet --upgrade \
		pyproject.toml --extra dev --extra infer --extra kafka --extra parquet -o requirements.lock

clean:
	rm -rf $(VENV) tests/interop/node_modules build dist

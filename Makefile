# Two commands matter: make demo, make test. Everything is installed into .venv by the first that runs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := gateway adapters pipelines systemd tests

.PHONY: install demo test check docs bench package torture interop format lock clean

install: $(VENV)/installed $(VENV)/console

# One hash-checked install of everything, then the project itself, which needs nothing more
$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "onpath needs Python 3.11 or newer (make PYTHON=python3.12 ...)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || .ci/install-venv $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# What the console takes from npm; without npm it works with less, and the next try is the next make
CONSOLE := gateway/console
$(VENV)/console: $(CONSOLE)/package-lock.json $(CONSOLE)/static/index.html $(CONSOLE)/build | $(VENV)/installed
	@if $(CONSOLE)/build; then touch $@; else echo "the console goes without charts and with a plain editor"; fi

demo: install
	$(BIN)/onpath demo $(ARGS)

# Side by side, for most tests wait for sockets; a few that fail so are tried again by themselves, and named. Those that
# judge timing run after the others, one by one. Python's development mode, but for its slow look at the memory of C
# extensions: none are ours
SIDE := build/side-by-side
TESTS := PYTHONDEVMODE=1 PYTHONMALLOC=pymalloc $(BIN)/python -m pytest -q
test: install
	$(TESTS) -n 3 --dist worksteal -m "not alone" -o cache_dir=$(SIDE) --cache-clear $(ARGS) || \
		PYTHONMALLOC=pymalloc $(BIN)/python -m tests.support.again $$? $(SIDE)
	$(TESTS) -m alone $(ARGS) || [ $$? = 5 ]

check: install
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	for file in $(filter-out configs/hub.yaml,$(wildcard configs/*.yaml)); do $(BIN)/onpath check $$file || exit; done
	$(BIN)/onpath hub check -c configs/hub.yaml
	$(BIN)/onpath service check configs/services/*.yaml
	$(MKDOCS) build --quiet --strict --config-file .mkdocs.yml

# The reference anew from the source, and the site into build/site; links and anchors are checked
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs
docs: install
	$(BIN)/python -m tests.support.reference
	$(MKDOCS) build --strict --config-file .mkdocs.yml $(ARGS)

format: install
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: install
	$(BIN)/python -m tests.benchmarks $(ARGS)

# What is installed on gateways: a Debian package and a tarball, in dist/ (ARGS=--help)
package: install
	systemd/package $(ARGS)

# What it must survive, at SCALE=smoke|change|nightly|release; a report in torture.md
SCALE ?= smoke
torture: install
	$(BIN)/python -m tests.torture --scale $(SCALE) $(ARGS)

# A browser under test holds its process's event loop, so those tests have processes of their own
BROWSER := tests/interop/console tests/interop/docs

# Peers that nobody here wrote; installs them (Debian packages as root or by sudo, npm packages locally)
interop: install
	.ci/install-peers
	$(BIN)/python -X dev -m pytest -q tests/interop $(BROWSER:%=--ignore=%) $(ARGS)
	for folder in $(BROWSER); do $(BIN)/python -X dev -m pytest -q $$folder $(ARGS) || exit; done

# After a change of dependencies in pyproject.toml; hashes for all platforms, no registry named
lock: install
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet --upgrade \
		pyproject.toml --extra dev --extra controller --extra infer --extra kafka --extra parquet -o requirements.lock

clean:
	rm -rf $(VENV) tests/interop/node_modules build dist

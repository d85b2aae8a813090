# `make demo` and `make test` do all the set-up by themselves; everything else is optional.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Of bash by this name, a counter: only what the command line says is the user's.
SECONDS := 600

.PHONY: help demo test check bench fuzz schema lock clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

$(VENV)/bin/python:
	@echo "== creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed; name one with: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	@echo "== installing requirements/demo.txt (TensorFlow is large: some minutes the first time)"
	@$(PIP) install --quiet --require-hashes -r requirements/demo.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.demo
	@echo "== installing requirements/dev.txt"
	@$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

demo: $(VENV)/.demo  ## convert, measure and compare a small model on four devices
	@$(BIN)/harness run demo

test: check  ## lint, types, layers and every test but the slow ones (SLOW=1: those too)
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile $(if $(SLOW),,-m "not slow") $(ARGS)

check: $(VENV)/.dev  ## lint, types and layers only
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports >/tmp/edge-harness-layers.$$$$ 2>&1 || { cat /tmp/edge-harness-layers.$$$$; rm -f /tmp/edge-harness-layers.$$$$; exit 1; }; rm -f /tmp/edge-harness-layers.$$$$
	@echo "== lint, types and layers are fine"

bench: $(VENV)/.dev  ## speed and memory against plain scripts, as ratios
	@$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(VENV)/.dev  ## what reads foreign bytes, SECONDS each (600); TARGETS="tflite suites"
	@$(BIN)/python -m fuzz --seconds $(SECONDS) $(TARGETS) $(ARGS)

schema: $(VENV)/.dev  ## write the JSON Schemas of suites and devices
	@$(BIN)/python -m harness.config.schema profiles/schema

lock:  ## resolve requirements/*.txt anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra demo --group build --no-emit-package edge-harness --quiet -o requirements/demo.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra demo --extra farm --group dev -c requirements/demo.txt --no-emit-package edge-harness --quiet -o requirements/dev.txt

clean:  ## remove the environment, caches and results of this checkout
	rm -rf $(VENV) results build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

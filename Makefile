# Everything a newcomer needs: Python >= 3.10, pip and make. `make demo` shows it, `make test` proves it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
FAST := not slow and not stack and not browser and not frameworks
# A sensible part for coverage: without the Proxy, the frameworks and the programs that are killed, whose tests take long or leave no figures.
COVERED_TESTS := $(addprefix tests/,spine truth privacy viewer plugin demo/test_provider.py) \
	$(patsubst %,tests/export/test_%.py,attached delivery encoding pipeline schedules spool tls) \
	$(patsubst %,tests/callbacks/test_%.py,registry dispatch properties loops matrix recipes)
# What meets OpenTelemetry's and LiteLLM's interfaces most, without the slow tests.
LOWEST_TESTS := tests/spine tests/truth

.PHONY: help demo test test-fast test-lowest lint types coverage reference docs wheel bench frameworks test-frameworks test-proxy test-neighbours \
	proxy-env proxy-lowest-env neighbours-env frameworks-env agents-env lowest-env clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# One environment for everything. A stamp says what it was made from.
$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

# Environments of their own, for what pins other versions; `tests/environments.py` finds them.
$(VENV)-%/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/pip install --quiet --disable-pip-version-check $(addprefix -c ,$(wildcard tests/constraints-$*.txt)) -e '.[$*]'
	@touch $@

# The lowest Proxy, without the web framework's instrumentation: nobody else makes a span for a request there.
$(VENV)-proxy-lowest/.ready: tests/constraints-proxy-lowest.txt
	$(PYTHON) -m venv $(VENV)-proxy-lowest
	$(VENV)-proxy-lowest/bin/pip install --quiet --disable-pip-version-check -c $< -e . 'litellm[proxy]'
	@touch $@

proxy-env proxy-lowest-env neighbours-env frameworks-env agents-env lowest-env: %-env: $(VENV)-%/.ready

demo: $(VENV)/.demo ## a dozen real LiteLLM calls against a local fake provider, shown as traces
	$(BIN)/otel-llm-bridge demo

test: $(VENV)/.dev ## all tests; what needs chromium, Go or Prometheus is skipped with the reason where they are missing
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-fast: $(VENV)/.dev ## the tests without the slow ones
	$(BIN)/python -m pytest -m "$(FAST)" $(PYTEST_ARGS)

# What old libraries warn of on a newer Python is not ours to put right: warnings are no errors here.
test-lowest: lowest-env ## fast tests with the lowest versions of everything that is supported; an environment of its own
	$(VENV)-lowest/bin/python -m pytest $(LOWEST_TESTS) -m "not slow" -W default $(PYTEST_ARGS)

lint: $(VENV)/.dev ## ruff, all rules
	$(BIN)/ruff check .

coverage: $(VENV)/.dev ## branch coverage, subprocesses included, with its floor (pyproject.toml)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "$(FAST)" $(COVERED_TESTS) $(PYTEST_ARGS)
	$(BIN)/coverage run -m pytest -m "not stack and not browser" tests/doctor tests/demo/test_server.py $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

reference: $(VENV)/.dev ## write the tables of the manual anew
	$(BIN)/python docs/generate.py

types: $(VENV)/.dev ## mypy, strict, on everything; pyright, strict, on the public interface
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/basedpyright

docs: $(VENV)/.dev ## the manual, warnings are errors
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

wheel: $(VENV)/.dev ## build the wheel, check it, and use it outside the checkout
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(PYTHON) tests/check_wheel.py dist

bench: $(VENV)/.dev ## cost beside a hand-written span and beside the peers
	$(BIN)/python -m benchmarks

test-frameworks: frameworks

test-proxy: $(VENV)/.dev proxy-env ## the real LiteLLM Proxy; sets up an environment of its own
	$(BIN)/python -m pytest tests/proxy $(PYTEST_ARGS)

test-neighbours: $(VENV)/.dev neighbours-env ## other instrumentations of the same calls; sets up an environment of its own
	$(BIN)/python -m pytest tests/neighbours $(PYTEST_ARGS)

frameworks: $(VENV)/.dev frameworks-env agents-env ## real frameworks on top of LiteLLM; sets up an environment of its own
	$(BIN)/python -m pytest tests/frameworks -m frameworks $(PYTEST_ARGS)

clean: ## take away what was made
	rm -rf $(VENV) $(VENV)-* dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis

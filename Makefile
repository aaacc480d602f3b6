# make demo   the whole way on the digits that scikit-learn carries
# make test   the tests
# make lint   ruff and mypy
# PYTHON=python3.12 make test   with another Python (3.11 to 3.13)

PYTHON ?= $(firstword $(foreach version,3.12 3.11 3.13 3,$(shell command -v python$(version) 2>/dev/null)))
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint clean

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "trainkit needs Python 3.11 to 3.13. Found %d.%d: set PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/python -m trainkit.demo

test: $(VENV)/installed
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache

# make demo   the whole way on the digits that scikit-learn carries
# make test   the tests, but for the slow ones: make test-slow
# make lint   ruff and mypy
# make compat every OpenCV from 4.5.5 to 5.0 reads every network; writes the table of docs/matrix.md
# make notebooks  every lesson, from top to bottom
# make clients    every client of a bundle (Python, C++, Node.js, a web page) tests itself
# make docs   the manual and the lessons as a site: docs/_build/html/index.html
# make bench  data, training and exported graphs beside what one would have used; make bench BENCH="augmentation --json"
# make test PYTHON=python3.12   with another Python (3.11 to 3.13)

# The first of these that runs and is 3.11 to 3.13: a name on PATH may be a shim for a Python that is not there.
RUNS = $(shell $(1) -c 'import sys; print("$(1)" if (3, 11) <= sys.version_info[:2] < (3, 14) else "")' 2>/dev/null)
PYTHON ?= $(firstword $(foreach name,python3 python3.12 python3.11 python3.13 python,$(call RUNS,$(name))))
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint compat compat-quick compat-all notebooks clients clients-quick bench docs clean

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(call RUNS,$(PYTHON))" || { echo "trainkit needs Python 3.11 to 3.13. Install one, or name it: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing TensorFlow, OpenCV and the rest into $(VENV): about 3 GB, a few minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/python -m trainkit.cli._demo

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

compat: $(VENV)/installed
	$(BIN)/python tests/compat

compat-quick: $(VENV)/installed
	$(BIN)/python tests/compat --quick

compat-all: $(VENV)/installed
	$(BIN)/python tests/compat --all

notebooks: $(VENV)/installed
	$(BIN)/python tests/notebooks

clients: $(VENV)/installed
	$(BIN)/python tests/clients $(CLIENTS)

clients-quick: $(VENV)/installed
	$(BIN)/python tests/clients --quick

bench: $(VENV)/installed
	@$(BIN)/python tests/bench $(BENCH)

docs: $(VENV)/installed
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m sphinx -q -E -c docs -W --keep-going . docs/_build/html

clean:
	rm -rf $(VENV) .demo .compat .clients docs/_build .mypy_cache .ruff_cache .pytest_cache

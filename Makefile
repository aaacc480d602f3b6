# `make help` lists the targets. `make test PYTHON=python3.12` takes another Python (3.11 to 3.13), `make test WORKERS=1`
# other than one process of tests a core (at most 4, each takes some GB).

# The first of these that runs and is 3.11 to 3.13: a name on PATH may be a shim for a Python that is not there.
RUNS = $(shell $(1) -c 'import sys; print("$(1)" if (3, 11) <= sys.version_info[:2] < (3, 14) else "")' 2>/dev/null)
PYTHON ?= $(firstword $(foreach name,python3 python3.12 python3.11 python3.13 python,$(call RUNS,$(name))))
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? cores : 4)))
SHARE := --numprocesses $(WORKERS) --dist worksteal
TESTS := $(BIN)/python -m pytest $(SHARE)

.PHONY: help demo test test-no-onednn test-slow test-long test-cluster test-cluster-slow test-timing test-opencv4 test-wheel mutants lint compat compat-quick compat-all compat-attention notebooks clients clients-quick test-arm64 keras-files bench gpu-check fuzz docs clean

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(call RUNS,$(PYTHON))" || { echo "trainkit needs Python 3.11 to 3.13. Install one, or name it: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing TensorFlow, OpenCV and the rest into $(VENV): about 3 GB, a few minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 16

demo: $(VENV)/installed ## the whole way on the digits that scikit-learn carries
	@$(BIN)/python -m trainkit.cli._demo

CLUSTER := -m "cluster and not slow and not timing"

# With COVERAGE=1 it says how much of trainkit/ ran, here and in test-cluster: branches too, and in the processes that the
# tests start.
test: $(VENV)/installed ## the tests, but for the slow ones and those that a clock decides; COVERAGE=1 measures, with a floor
ifdef COVERAGE
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(SHARE) -m "not slow and not timing and not cluster"
	$(BIN)/python -m coverage run -m pytest $(CLUSTER)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report
else
	$(TESTS) -m "not slow and not timing and not cluster"
endif

# What TensorFlow's kernels decide of an export: which networks it traces and runs, and what they answer. Files, settings
# and numbers are the same with and without oneDNN.
NO_ONEDNN := tests/test_backend.py tests/exporting/test_conversion.py tests/exporting/test_frozen_graph.py \
	tests/exporting/test_traced_layers.py tests/exporting/test_tracing.py tests/bundles/test_check.py \
	tests/bundles/test_exportable.py tests/models/test_adapting.py tests/models/test_builders.py \
	tests/models/test_calling.py tests/runs/test_evaluation.py tests/runs/test_layer_table.py

test-no-onednn: $(VENV)/installed ## the exporter's tests once more, as on a CPU for which TensorFlow has no oneDNN
	TF_ENABLE_ONEDNN_OPTS=0 $(TESTS) -m "not slow and not timing and not cluster" $(NO_ONEDNN)

test-slow: $(VENV)/installed ## the slow ones: a network of each kind is trained, every example of the manual run
	$(TESTS) -m "slow and not long and not timing and not cluster"

test-long: $(VENV)/installed ## killed at random, hostile files by the hundred, large networks: most of an hour, not in the gate
	$(TESTS) -m long

test-cluster: $(VENV)/installed ## several processes and Ray: trainings, sweeps and blocks of images past one machine
	$(BIN)/python -m pytest $(CLUSTER)

test-cluster-slow: $(VENV)/installed ## the slow ones of these: larger networks, killed workers of a sweep, PostgreSQL; not in the gate
	$(BIN)/python -m pytest -m "cluster and slow and not timing"

test-timing: $(VENV)/installed ## those that a clock decides, one at a time: on an idle machine
	$(BIN)/python -m pytest -m timing

# The oldest OpenCV that trainkit's own process may have; newer ones are between this and the pinned one.
OPENCV4 := 4.10.0.84
# What it reads, computes or draws; the rest of a bundle is made without it.
OPENCV4_TESTS := tests/exporting/test_conversion.py tests/exporting/test_small_weights.py \
	tests/bundles/test_agreement.py tests/bundles/test_bench.py tests/bundles/test_check.py \
	tests/bundles/test_detect.py tests/bundles/test_drawing.py tests/bundles/test_export.py \
	tests/bundles/test_predict.py tests/bundles/test_small_weights.py \
	tests/test_preprocessing.py tests/models/test_pixel_model.py tests/data/test_transforms.py tests/data/test_warping.py

# An environment of its own, with another OpenCV before all that $(VENV) has.
.venv.opencv4/$(OPENCV4): $(VENV)/installed
	rm -rf .venv.opencv4
	$(BIN)/python -m venv .venv.opencv4
	.venv.opencv4/bin/python -m pip install --quiet --no-deps opencv-python-headless==$(OPENCV4)
	.venv.opencv4/bin/python -c "import pathlib, subprocess, sysconfig; \
		below = subprocess.check_output(['$(BIN)/python', '-c', 'import sysconfig; print(sysconfig.get_path(\"purelib\"))'], text=True); \
		pathlib.Path(sysconfig.get_path('purelib'), 'below.pth').write_text(f'import site; site.addsitedir({below.strip()!r})')"
	.venv.opencv4/bin/python -I -c "import cv2, keras; assert '$(OPENCV4)'.startswith(cv2.__version__), cv2.__version__"
	@touch $@

test-opencv4: .venv.opencv4/$(OPENCV4) ## export, checks, preprocessing, prediction and transforms once more, with OpenCV 4.10
	.venv.opencv4/bin/python -m pytest $(SHARE) -m "not slow and not timing and not cluster" $(OPENCV4_TESTS)

test-wheel: $(VENV)/installed ## the wheel in environments of its own, unpinned, with little beside it and with everything
	$(BIN)/python tests/wheel

.mutants/installed:
	$(PYTHON) -m venv .mutants
	.mutants/bin/python -m pip install --quiet 'cosmic-ray>=8.4,<9'
	@touch $@

mutants: $(VENV)/installed .mutants/installed ## changes of the core that a test must notice; MUTANTS="--count 60 --seed 1" draws others
	.mutants/bin/python tests/mutants --python $(BIN)/python $(MUTANTS)

lint: $(VENV)/installed ## ruff and mypy, strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

compat: $(VENV)/installed ## every OpenCV from 4.5.5 to 5.0 reads every network; writes the table of the manual
	$(BIN)/python tests/compat

compat-quick: $(VENV)/installed ## a part of it, some minutes: what the gate runs
	$(BIN)/python tests/compat --quick

compat-all: $(VENV)/installed ## the matrix with the other families of keras.applications and every OpenCV in between too
	$(BIN)/python tests/compat --all --readers all

compat-attention: $(VENV)/installed ## every OpenCV reads networks with attention, recurrence and the like; writes their table
	$(BIN)/python tests/compat --networks attention --readers all --formats onnx
	$(BIN)/python tests/compat/operators.py

keras-files: $(VENV)/installed ## files that Keras 2 wrote, from TensorFlow 2.2 to 2.15, read and exported; writes the table of the manual
	$(BIN)/python tests/keras_files

notebooks: $(VENV)/installed ## every lesson, from top to bottom
	$(BIN)/python tests/notebooks

clients: $(VENV)/installed ## every client of a bundle (Python, C++, Node.js, a web page) tests itself
	$(BIN)/python tests/clients $(CLIENTS)

clients-quick: $(VENV)/installed ## one client of each kind: what the gate runs
	$(BIN)/python tests/clients --quick

test-arm64: $(VENV)/installed ## the self-test on arm64, under qemu that apt-get fetches into .arm64: some minutes, not in the gate
	$(BIN)/python tests/clients/arm64.py

bench: $(VENV)/installed ## data, training, exported graphs and classifying beside what one would have used; BENCH="augmentation --json"
	@$(BIN)/python tests/bench $(BENCH)

gpu-check: $(VENV)/installed ## training, resuming, exporting and speed on a GPU, in 8 minutes; GPU=--require-gpu fails without one
	@$(BIN)/python tests/gpu $(GPU)

fuzz: $(VENV)/installed ## strange files through every reader, for a minute; FUZZ="manifests graphs --seconds 600 --seed 7" tries others
	$(BIN)/python tests/fuzz $(FUZZ)

docs: $(VENV)/installed ## the manual and the lessons as a site, docs/_build/html/index.html; a warning ends it
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m sphinx -q -E -c docs -W --keep-going . docs/_build/html

clean: ## removes what was installed and every cache
	rm -rf $(VENV) .venv.opencv4 .demo .arm64 .compat .keras-files .clients .mutants .fuzz docs/_build .coverage* .mypy_cache .ruff_cache .pytest_cache

# A newcomer only needs `make demo` and `make test`; both first install what they use.
# To use another Python or environment: make PYTHON=python3.12 VENV=/path/to/venv ...

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=

# Debian packages: opencv-python links libGL and GLib, the window needs Qt's libraries, and a test plays a result
# in Chromium.
QT_PACKAGES := libegl1 libfontconfig1 libfreetype6 libdbus-1-3 libx11-xcb1 libxcb-cursor0 libxcb-icccm4 \
    libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-sync1 libxcb-util1 \
    libxcb-xfixes0 libxcb-xkb1 libxkbcommon0 libxkbcommon-x11-0 fonts-dejavu-core
RUN_PACKAGES := libgl1 libglib2.0-0 $(QT_PACKAGES)
TEST_PACKAGES := $(RUN_PACKAGES) chromium

.DELETE_ON_ERROR:
.PHONY: help install demo check test test-realtime test-others lint bench ablation pictures tables clean

help:
	@echo 'make demo    render a clip, annotate it with the shipped model, print where it is'
	@echo 'make test    run the tests (ARGS="-k name" picks some)'
	@echo 'make lint    ruff, mypy, import-linter'
	@echo 'make check   lint, and the tests of what has changed since main'
	@echo 'make bench   accuracy and speed on this machine, as JSON and in the documents'
	@echo 'make ablation, make pictures   the rest of docs/'
	@echo 'make clean   remove generated files, except the environment in $(VENV)'

install: $(VENV)/.installed

demo: out/demo.mp4
	$(BIN)/br2focus annotate out/demo.mp4 -o out/demo_annotated.mp4 --force
	@echo
	@echo 'The clip:      $(CURDIR)/out/demo.mp4'
	@echo 'Its focus map: $(CURDIR)/out/demo_annotated.mp4'

out/demo.mp4: examples/render_demo.py models/rendering/optics.py | $(VENV)/.installed
	$(BIN)/python examples/render_demo.py $@

# In two parallel processes: where OpenVINO's threads run, the end of a child process (a killed one, or a training
# worker) crashes the interpreter with a segmentation fault. The cause is not known yet.
# Each with one OpenMP thread: OpenMP threads wait by spinning, and two processes with two of them on two cores
# take ten times as long.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.installed-dev
	@$(MAKE) --no-print-directory -j2 -O test-realtime test-others

# Style, types, and the tests of what has changed since main: for every save, before `make test`.
check: lint
	@tests=$$($(BIN)/python .ci/changed_tests.py) || exit 1; \
	    if [ -n "$$tests" ]; then $(BIN)/python -m pytest -q $(ARGS) $$tests; else echo 'No tests of what changed.'; fi

# Tests that run whole programs; here because the other half takes longer without them.
ALONE := tests/test_readme.py tests/benchmarks/test_gpu.py

test-realtime: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(ARGS) tests/plugins/qt tests/plugins/test_export.py tests/realtime $(ALONE)

test-others: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(ARGS) --ignore=tests/plugins/qt --ignore=tests/plugins/test_export.py \
	    --ignore=tests/realtime $(ALONE:%=--ignore=%)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.measure.accuracy
	$(BIN)/python -m benchmarks.measure.annotate
	$(BIN)/python -m benchmarks.measure.archive
	$(BIN)/python -m benchmarks.measure.speed
	$(BIN)/python -m benchmarks.measure.growth
	$(BIN)/python -m benchmarks.measure.training
	$(BIN)/python -m benchmarks.measure.live
	$(BIN)/python -m benchmarks.measure.live_faults
	$(BIN)/python -m benchmarks.measure.smoothing
	$(BIN)/python -m benchmarks.measure.refining
	$(BIN)/python -m benchmarks.measure.noise
	$(BIN)/python -m benchmarks.report.tables

ablation: $(VENV)/.installed
	$(BIN)/python -m benchmarks.measure.ablation
	$(BIN)/python -m benchmarks.report.ablation

pictures: out/demo.mp4
	$(BIN)/python -m benchmarks.pictures.photos out/demo.mp4
	$(BIN)/python -m benchmarks.pictures.rendered
	$(BIN)/python -m benchmarks.pictures.maps --model lite
	$(BIN)/python -m benchmarks.pictures.maps --model standard
	$(BIN)/python -m benchmarks.pictures.smoothing
	$(BIN)/python -m benchmarks.pictures.viewer

tables: $(VENV)/.installed
	$(BIN)/python -m benchmarks.report.tables

clean:
	rm -rf out build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# --- the environment: one stamp file per set of packages, so that a second run starts at once ----------

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo 'No $(PYTHON) here: install Python 3.11, or name another: make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/debian-packages $(notdir $(PYTHON))-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	.ci/debian-packages $(RUN_PACKAGES)
	@echo 'Installing into $(VENV): PyTorch with its CUDA libraries is some 3 GB to fetch, once.'
	$(PIP) install -c constraints.txt -e '.[demo,viewer]'
	@touch $@

# pysodmetrics without its dependencies: it requires opencv-python-headless, which would overwrite opencv-python.
$(VENV)/.installed-dev: $(VENV)/.installed
	.ci/debian-packages $(TEST_PACKAGES)
	$(PIP) install -c constraints.txt -e '.[demo,viewer,onnx,test,dev]'
	$(PIP) install -c constraints.txt --no-deps pysodmetrics
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[demo,viewer,onnx,bench]'
	@touch $@

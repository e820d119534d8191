# Everything starts from Python, pip and make: each target first sees to it that .venv is there and up to date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LLAMA := $(VENV)/.llama
EXTRAS := $(VENV)/extras
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)

DEMO_RECIPE := examples/ner_demo.yaml
DEMO_OUT := runs/demo
DEMO_TEXT ?= Hello, Priya Nair here from Leeds: Harbour Bank took £45.90 twice on 3 March.

# Many tests side by side, one thread each, beat few tests with many threads on models this small.
TESTS := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo format lint types layers test test-extras test-ray check test-all bench lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## make .venv with Tunesmith and the developers' tools

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Tunesmith needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV); the first time this takes some minutes (torch is large)."
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	    rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install -qq pip; } || { \
	    rm -rf $(VENV); echo "No virtual environment can be made. Install your system's package for venv (on Debian: python3-venv) and try again."; exit 1; }
	@# torch first and by its exact version: a range would fetch a newer build with gigabytes of GPU packages.
	@$(BIN)/python -m pip install -qq --disable-pip-version-check '$(TORCH)'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The Python package alone: llama.cpp's programs and its reading of pictures would be compiled for nothing.
$(LLAMA): $(READY)
	@echo "Compiling llama.cpp into $(VENV); this takes a C++ compiler and ten minutes or more, once for each version."
	@CMAKE_ARGS="-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF" \
	    $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[llama-cpp]'
	@touch $@

# What is large, or wants other versions than the developers' tools: a place of its own, which sees .venv's packages too.
$(EXTRAS)/.ready: $(READY)
	@echo "Installing the extras 'litert', 'presidio' and 'ray' into $(EXTRAS)."
	@rm -rf $(EXTRAS) && $(BIN)/python -m venv --without-pip $(EXTRAS)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	    "$$($(EXTRAS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
	@$(BIN)/python -m pip --python $(EXTRAS)/bin/python install -qq --disable-pip-version-check -e '.[litert,presidio,ray]'
	@touch $@

demo: $(READY) ## fine-tune a small model for entities on the data that ships with the project, and try it
	$(BIN)/tunesmith run $(DEMO_RECIPE) --out $(DEMO_OUT) --overwrite
	$(BIN)/tunesmith predict $(DEMO_OUT)/artifact --text "$(DEMO_TEXT)"

format: $(READY) ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY) ## form and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## type hints
	$(BIN)/mypy

layers: $(READY) ## imports go down only
	$(BIN)/lint-imports

test: $(READY) ## the fast tests
	$(TESTS) -q -n $(WORKERS)

# Two processes: what converts for LiteRT has threads that do not like to be forked, and Ray forks.
test-extras: $(EXTRAS)/.ready ## the tests of the extras 'litert' (torchao with it) and 'presidio', which it installs beside
	$(subst $(BIN),$(EXTRAS)/bin,$(TESTS)) -p no:anyio -q -k 'litert or torchao or presidio' \
	    tests/inference/test_litert.py tests/models/test_weight_only.py tests/test_redacting.py

test-ray: $(EXTRAS)/.ready ## the tests of the extra 'ray', which it installs beside
	$(subst $(BIN),$(EXTRAS)/bin,$(TESTS)) -p no:anyio -q -k ray tests/service

check: lint types layers test ## all of the above: what must be green before a commit

test-all: TESTS += -m ''
test-all: $(LLAMA) test-extras test-ray ## the slow tests too, those on real data, and those that need llama.cpp, which it compiles
	$(TESTS) -q -n $(WORKERS)

bench: $(READY) ## training speed beside other software
	$(BIN)/python benchmarks/training_speed.py

lock: $(READY) ## pin each file that the image holds, for this machine's kind of processor and Python
	$(BIN)/python -m pip install -q --disable-pip-version-check --dry-run --ignore-installed --only-binary :all: --report - \
	    -c constraints.txt '.[onnx,otel,postgres,ray]' 'hatchling>=1.26,<2' | $(BIN)/python deploy/lock.py

clean: ## remove what was made here, .venv too
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

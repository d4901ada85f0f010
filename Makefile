# `make demo` and `make test` set up what they need: Python 3.11+, make, a package index.
# PYTHON=python3.13 VENV=.venv313 chooses another; its constraints file is that of its
# version.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/demo
version = $(shell $(BIN)/python -c "import sys; print('%d.%d' % sys.version_info[:2])")
CONSTRAINTS = $(or $(wildcard constraints-$(version).txt),constraints.txt)
INSTALL = $(BIN)/python -m pip install --quiet -c $(CONSTRAINTS)

.PHONY: help demo test test-processes test-systems test-long test-datasets test-compile \
	test-convert test-package test-browser aot docs fuzz lint controls clean

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /'

demo: $(VENV)/.demo ## procedural clips, a model per subject, its card and report
	@start=$$(date +%s); \
	$(BIN)/python -m data_builders.build --dataset=synthetic/tiny && \
	built=$$(date +%s) && \
	$(BIN)/python -m merclip_jax.main --config=configs/synthetic_3class.py \
		--workdir=$(WORKDIR) && \
	echo "clips built in $$((built - start)) s," \
		"trained and reported in $$(($$(date +%s) - built)) s"

test: $(VENV)/.test ## the suite, under ten minutes on two cores
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist loadfile \
		--no-loadscope-reorder --ignore=tests/weights_torch \
		--ignore=tests/test_builders_run.py \
		--ignore=tests/training/test_stopping.py \
		--ignore=tests/training/test_kill.py \
		--ignore=tests/training/test_devices.py \
		--ignore=tests/training/test_processes.py \
		--ignore=tests/compile --ignore=tests/package \
		--ignore=tests/browser -m "not whole and not long"

# Runs in processes of their own: kills, signals, locks, devices, hosts, a full disk.
test-processes: $(VENV)/.test ## kills, signals, locks, devices, hosts
	$(BIN)/python -m pytest -n auto --maxprocesses=2 --dist loadgroup \
		-m "not long" tests/training/test_stopping.py \
		tests/training/test_kill.py tests/training/test_devices.py \
		tests/training/test_processes.py

# What trains for a while: each system from clips to card, killed and resumed, with its
# test subject poisoned; explained; every choice of a config.
test-systems: $(VENV)/.test ## each system from clips to card, killed and resumed
	$(BIN)/python -m pytest -n auto --maxprocesses=2 --dist loadfile \
		--no-loadscope-reorder --ignore=tests/weights_torch \
		--ignore=tests/compile --ignore=tests/package -m "whole and not long" tests

# What repeats tests above in other shapes: before a release.
test-long: $(VENV)/.test ## the tests above in more shapes, before a release
	$(BIN)/python -m pytest -n auto --maxprocesses=2 --dist loadgroup -m long tests

# Every dataset in miniature, from its owners' tree to a card.
test-datasets: $(VENV)/.test ## every dataset in miniature, from its owners' tree to a card
	$(BIN)/python -m pytest -n auto --maxprocesses=4 tests/test_builders_run.py

# Compiles for TPUs and GPUs that are not there.
test-compile: $(VENV)/.test $(VENV)/aot/.done ## programs for TPUs and GPUs that are not there
	PYTHONPATH=$(VENV)/aot $(BIN)/python -m pytest -n auto --maxprocesses=2 \
		--dist loadgroup tests/compile

# The compilers, apart from what runs here: PYTHONPATH=.venv/aot finds them.
aot: $(VENV)/aot/.done ## their compilers, for benchmarks.aot

test-convert: $(VENV)/.convert ## weights against torch
	$(BIN)/python -m pytest -n auto --maxprocesses=2 --dist loadfile \
		tests/weights_torch

# In an environment of their own, outside of the checkout.
test-package: $(VENV)/.test ## the notebooks and the wheel, installed elsewhere
	$(BIN)/python -m pytest -n auto --maxprocesses=2 tests/package

# Debian: apt-get install chromium.
test-browser: $(VENV)/.browser ## reports and the page to try a model in Chromium
	$(BIN)/python -m pytest tests/browser

docs: $(VENV)/.docs ## the site, strictly, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Twenty times the cases of hostile input that `make test` tries.
fuzz: $(VENV)/.test ## hostile input, twenty times as many cases
	FUZZ_CASES=20000 $(BIN)/python -m pytest -n auto --maxprocesses=4 \
		--dist loadfile tests/fuzz

lint: $(VENV)/.test ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

controls: $(VENV)/.demo ## where the score comes from
	$(BIN)/python -m data_builders.build --dataset=synthetic/tiny
	$(BIN)/python -m benchmarks.controls --config=configs/synthetic_3class.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml $(wildcard constraints*.txt) | $(BIN)/python
	@start=$$(date +%s); echo "installing into $(VENV)" && \
	$(INSTALL) -e . && \
	touch $@ && echo "installed in $$(($$(date +%s) - start)) s"

$(VENV)/.test: pyproject.toml $(wildcard constraints*.txt) | $(BIN)/python
	@start=$$(date +%s); echo "installing into $(VENV)" && \
	$(INSTALL) -e ".[test]" && \
	touch $@ $(VENV)/.demo && echo "installed in $$(($$(date +%s) - start)) s"

$(VENV)/aot/.done: constraints-aot.txt | $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/aot \
		-r constraints-aot.txt && touch $@

$(VENV)/.convert: pyproject.toml $(wildcard constraints*.txt) | $(BIN)/python
	@start=$$(date +%s); echo "installing into $(VENV)" && \
	$(INSTALL) -e ".[test,test-convert]" && \
	touch $@ $(VENV)/.test $(VENV)/.demo && \
	echo "installed in $$(($$(date +%s) - start)) s"

$(VENV)/.browser: pyproject.toml $(wildcard constraints*.txt) | $(BIN)/python
	$(INSTALL) -e ".[test,test-browser]" && touch $@ $(VENV)/.test $(VENV)/.demo

$(VENV)/.docs: pyproject.toml $(wildcard constraints*.txt) | $(BIN)/python
	$(INSTALL) -e ".[docs]" && touch $@

clean: ## away with the environment, runs and data
	rm -rf $(VENV) runs data *.egg-info

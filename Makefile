# `make demo` and `make test` set up what they need: Python 3.11+, make, a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/demo

.PHONY: demo test test-processes test-systems test-datasets test-compile \
	test-convert aot fuzz lint controls clean

demo: $(VENV)/.demo
	@start=$$(date +%s); \
	$(BIN)/python -m data_builders.build --dataset=synthetic/tiny && \
	built=$$(date +%s) && \
	$(BIN)/python -m merclip_jax.main --config=configs/synthetic_3class.py \
		--workdir=$(WORKDIR) && \
	echo "clips built in $$((built - start)) s," \
		"trained and reported in $$(($$(date +%s) - built)) s"

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist loadfile \
		--no-loadscope-reorder --ignore=tests/weights_torch \
		--ignore=tests/test_builders_run.py \
		--ignore=tests/training/test_stopping.py \
		--ignore=tests/training/test_kill.py \
		--ignore=tests/training/test_devices.py \
		--ignore=tests/training/test_processes.py \
		--ignore=tests/compile -m "not whole"

# Runs in processes of their own: kills, signals, locks, devices, hosts, a full disk.
test-processes: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses=2 \
		tests/training/test_stopping.py tests/training/test_kill.py \
		tests/training/test_devices.py tests/training/test_processes.py

# Each system from clips to card, killed and resumed, with its test subject poisoned.
test-systems: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses=2 --dist loadgroup \
		-m whole tests/systems tests/data tests/results

# Every dataset in miniature, from its owners' tree to a card.
test-datasets: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses=4 tests/test_builders_run.py

# Compiles for TPUs and GPUs that are not there.
test-compile: $(VENV)/.test $(VENV)/aot/.done
	PYTHONPATH=$(VENV)/aot $(BIN)/python -m pytest tests/compile

# The compilers, apart from what runs here: PYTHONPATH=.venv/aot finds them.
aot: $(VENV)/aot/.done

test-convert: $(VENV)/.convert
	$(BIN)/python -m pytest tests/weights_torch

# Twenty times the cases of hostile input that `make test` tries.
fuzz: $(VENV)/.test
	FUZZ_CASES=20000 $(BIN)/python -m pytest -n auto --maxprocesses=4 \
		--dist loadfile tests/fuzz

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

controls: $(VENV)/.demo
	$(BIN)/python -m data_builders.build --dataset=synthetic/tiny
	$(BIN)/python -m benchmarks.controls --config=configs/synthetic_3class.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@start=$$(date +%s); echo "installing into $(VENV)" && \
	$(BIN)/python -m pip install --quiet -c constraints.txt -e . && \
	touch $@ && echo "installed in $$(($$(date +%s) - start)) s"

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@start=$$(date +%s); echo "installing into $(VENV)" && \
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]" && \
	touch $@ $(VENV)/.demo && echo "installed in $$(($$(date +%s) - start)) s"

$(VENV)/aot/.done: constraints-aot.txt | $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/aot \
		-r constraints-aot.txt && touch $@

$(VENV)/.convert: pyproject.toml constraints.txt | $(BIN)/python
	@start=$$(date +%s); echo "installing into $(VENV)" && \
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,test-convert]" && \
	touch $@ $(VENV)/.test $(VENV)/.demo && \
	echo "installed in $$(($$(date +%s) - start)) s"

clean:
	rm -rf $(VENV) runs data *.egg-info

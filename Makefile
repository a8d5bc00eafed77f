# Two commands matter: `make demo` and `make test`. Both make .venv first; PYTHON=python3.12 names another interpreter.

BIN := .venv/bin
INSTALLED := .venv/.installed
WORKERS ?= 2
export OMP_NUM_THREADS ?= 1
export TRANSFORMERS_VERBOSITY ?= error
# The same examples on each run and no deadlines; plain pytest draws new ones.
PYTEST := $(BIN)/python -m pytest --hypothesis-profile=ci

.PHONY: help install demo test test-slow test-gpu lint format docs clean

help:
	@echo "make demo       train on examples/teddy and draw with what was learnt"
	@echo "make test       every test that needs no GPU and no hour"
	@echo "make test-slow  the tests marked slow: real SDXL's size, 14 GiB of memory"
	@echo "make test-gpu   the tests marked gpu"
	@echo "make lint       ruff, pyright, import layers, words"
	@echo "make format     ruff's formatting and its safe fixes"
	@echo "make docs       write the generated pages of docs/ anew"
	@echo "make clean      remove .venv, caches and demo-run"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt tools/install.sh
	@PYTHON="$(PYTHON)" tools/install.sh
	@touch $@

demo: $(INSTALLED)
	tools/demo.sh

test: $(INSTALLED)
	$(PYTEST) -n $(WORKERS)

test-slow: $(INSTALLED)
	$(PYTEST) -m slow

test-gpu: $(INSTALLED)
	$(PYTEST) -m gpu

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(PYTEST) --noconftest tests/contracts/test_words.py tests/contracts/test_source_habits.py
	$(BIN)/pyright

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)
	$(BIN)/python tools/write_option_docs.py
	$(BIN)/python tools/measure_differences.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist demo-run

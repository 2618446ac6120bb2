# Every target makes the environment in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What `make lowest` tests.
CORE := tests/test_cli.py tests/models/test_checkpoint.py tests/models/test_quality.py tests/scoring/test_scorer.py \
  tests/scoring/test_onnx.py tests/stats/test_metrics.py tests/data/test_readers.py

.PHONY: env demo test lint lowest bench docs clean

env: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'; \
	fi
	@touch $@

demo: env
	$(BIN)/python -m fusiqa demo

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lowest: # warnings of old versions are no errors, and the check of shapes needs a later pytest
	uv venv --quiet --allow-existing --python $(PYTHON) build/lowest
	uv pip install --python build/lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	OMP_NUM_THREADS=1 build/lowest/bin/python -m pytest --quiet --override-ini addopts=--import-mode=importlib \
	  --override-ini filterwarnings=default $(CORE)

bench: env # five minutes; without --quick, half an hour
	$(BIN)/python benchmarks/peers.py --quick

docs: env
	$(BIN)/python -m mkdocs build --strict --quiet --site-dir build/site
	@echo "build/site/index.html"

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

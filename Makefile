# `make demo` and `make test` do all their own set-up, in .venv, on a machine with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test check bench evidence clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: setup
	$(BIN)/vaelab demo

# a process for each core, each with one thread: tests are small, and threads would only wait for each other
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/linear_exact.py
	$(BIN)/python benchmarks/plain_pytorch.py
	$(BIN)/python benchmarks/tables.py anomalies

evidence: setup
	$(BIN)/python benchmarks/evidence.py

clean:
	rm -rf .venv build dist

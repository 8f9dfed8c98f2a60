# What a user runs. Everything that is needed is installed into .venv, at the versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test busy slow long check docs format clean

help:
	@echo "make demo    a topology ablation at demonstration size, and its report"
	@echo "make test    the tests"
	@echo "make busy    the tests beside programs that fill all cores: none depends on time"
	@echo "make slow    the slow tests: killed drivers, full disks, two nodes, short simulations"
	@echo "make long    an hour of tests: all intervals' simulations, every detector in ONNX Runtime"
	@echo "make check   format, lint, types and the tests"
	@echo "make docs    the documentation as a site in site/"

demo: .venv/installed
	$(BIN)/scaling-lab run studies/topology_ablation.py

test: .venv/installed-test
	$(BIN)/python -m pytest -n 2 --dist worksteal

busy: .venv/installed-test
	$(BIN)/python -m tests.busy -n 2 --dist worksteal

slow: .venv/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m slow

long: .venv/installed-test
	$(BIN)/python -m pytest -n 2 -m long

check: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal

docs: .venv/installed-docs
	$(BIN)/python tools/docs.py
	$(BIN)/zensical build --clean --strict

format: .venv/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv runs build dist site docs/stored .cache

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "scaling_lab needs Python 3.11 or newer, not " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes, about 6 GB with torch's CUDA libraries)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,check]'
	@touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

# Every target sets up its own .venv when needed. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: fit test validate check reference pictures setup clean

fit: $(STAMP)
	$(BIN)/popk fit fits/phenobarb-neonates
	$(BIN)/popk fit fits/blinatumomab-infants

# programs run a few times each: compiled without optimisation; `make validate` is with it
test: $(STAMP)
	XLA_FLAGS="--xla_backend_optimization_level=0 $$XLA_FLAGS" \
	$(BIN)/python -m pytest -n auto --dist loadfile

validate: $(STAMP)
	$(BIN)/python -m pytest -m slow -n auto --dist loadfile

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# popk/API.md and popk/COMMANDS.md, from docstrings and help
reference: $(STAMP)
	$(BIN)/python -m tests.pages

# the pictures of README.md, from the results in fits/
pictures: $(STAMP)
	$(BIN)/python -m benchmarks.pictures

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "popk needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $(STAMP)

clean:
	rm -rf $(VENV)

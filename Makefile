# Two commands are enough: `make demo` and `make test`. Both set up once and say what they do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_STORE ?= demo
# Processes that share the default tests; a file's tests stay together, so that what they share is made once.
TEST_WORKERS ?= 2

.PHONY: help demo test test-all lint format schemas docs bench clean

help:
	@echo "make demo      set up, then build, train and evaluate the sample recipe (three to five minutes on two cores)"
	@echo "make test      set up, then check style, types and the default tests (in two processes)"
	@echo "make test-all  the slow tests too"
	@echo "make lint      ruff and mypy only"
	@echo "make schemas   write schemas/ anew from the models"
	@echo "make docs      write the generated pages of docs/ anew"
	@echo "make bench     measure speed against the packages a user would pick instead"

$(READY): pyproject.toml constraints.txt
	@echo "== setting up $(VENV) (once; downloads PyTorch and the libraries of constraints.txt)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY)

demo: $(READY)
	@echo "== didact run sample_data/recipe.yaml --store $(DEMO_STORE)"
	@$(BIN)/didact run sample_data/recipe.yaml --store $(DEMO_STORE)

# Tests start Python hundreds of times: its compiled modules are kept, even where the environment says otherwise.
test test-all: export PYTHONDONTWRITEBYTECODE =

test: lint
	@echo "== pytest in $(TEST_WORKERS) processes"
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

test-all: lint
	@echo "== pytest, slow tests included"
	@$(BIN)/python -m pytest -m "" --hypothesis-profile=search

lint: $(READY)
	@echo "== ruff"
	@$(BIN)/ruff check .
	@echo "== mypy"
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix .

schemas: $(READY)
	@$(BIN)/python -m didact.build.schemas schemas

docs: $(READY)
	@$(BIN)/python -m didact.report.reference docs

bench: $(READY)
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(DEMO_STORE) .mypy_cache .ruff_cache .pytest_cache

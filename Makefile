# make tour: everything on the built-in shop, no download.  make test: the whole test suite.
# Both create .venv first; it is renewed when pyproject.toml or constraints.txt change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COURSE := $(foreach number,00 01 02 03 04 05 06 07,--only $(number))

.PHONY: venv tour test lint clean

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: needs Python 3.11 or newer, $(PYTHON) is not. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,explore,llm]'
	@touch $@

tour: $(STAMP)
	$(BIN)/gensar notebooks --preset tour $(COURSE)
	$(BIN)/gensar report --preset tour

test: $(STAMP)
	$(BIN)/python -m pytest -q

lint: $(STAMP)
	$(BIN)/ruff check gensar_lite benchmarks data_download tests notebooks
	$(BIN)/ruff format --check gensar_lite benchmarks data_download tests notebooks

# caches and build products only: artifacts/ may hold hours of training, downloads/ what a mirror gave
clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find gensar_lite benchmarks data_download tests -name __pycache__ -type d -prune -exec rm -rf {} +

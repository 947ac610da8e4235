# `make` alone lists what there is.
#
#   PYTHON=python3.12                 the interpreter the environment is made with
#   VENV=.venv-3.12                   where it lies
#   VENV_ARGS=--system-site-packages  see the packages of that interpreter too

PYTHON ?= python3
VENV ?= .venv
VENV_ARGS ?=
CHECKS ?=
# Those that need no more than a bare GPU machine has.
GPU_TESTS ?= tests/pallas_kernels tests/silverjax/test_backends.py

BIN := $(VENV)/bin
ENSURE := $(PYTHON) scripts/make_venv.py $(VENV) $(VENV_ARGS)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench gpu clean

help: ## list these targets
	@echo "SilverJAX: recommendation retrieval as one JAX function. Targets:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: ## train on real ratings, build the index, recommend, evaluate (4 to 8 minutes)
	@$(ENSURE) --extras compare
	@$(BIN)/silverjax demo

test: ## everything that CI runs: format, lint, types, import arrows, doctests, tests
	@$(ENSURE) --extras test
	@VENV="$(VENV)" scripts/check $(CHECKS)

check: test ## the same as `make test`

bench: ## compare with faiss, hnswlib and pyroaring; writes the README's table
	@$(ENSURE) --extras bench
	@$(BIN)/python -m experiments

gpu: ## tests, then the benchmark of a GPU (ten minutes); RESULTS=FOLDER COMMIT=HASH
	@PYTHON="$(PYTHON)" VENV="$(VENV)" VENV_ARGS="$(VENV_ARGS)" \
	  RESULTS="$(RESULTS)" COMMIT="$(COMMIT)" scripts/gpu $(GPU_TESTS)

clean: ## remove the environments and caches
	rm -rf .venv .venv-* .venv*.lock build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

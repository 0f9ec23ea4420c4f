# Every target sets up what it needs by itself: Python 3.11-3.13 and make are enough. `make help` lists them.
#
# One virtual environment, .venv, grows by extras; a stamp file per set of extras says that it is installed, and is older
# than pyproject.toml or constraints.txt when it must be installed again. Versions are those of constraints.txt.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP     = $(BIN)/python -m pip --disable-pip-version-check install --quiet --progress-bar off
NEEDS  := pyproject.toml constraints.txt

JOBS        ?= auto
PYTEST_ARGS ?=
DEMO_ARGS   ?=
BENCH_ARGS  ?= --quick
LESSONS     ?=
NOTEBOOKS   ?=
NOTE        ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-adapters test-sglang test-vllm test-vllm-engine test-lmcache test-transformers check bench lessons notebooks docs validate format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.set-demo ## a real model starts faster from its stored KV cache (DEMO_ARGS="--model random", see `lsmkv demo --help`)
	$(BIN)/lsmkv demo $(DEMO_ARGS)

test: $(VENV)/.set-dev ## all tests (PYTEST_ARGS="tests/wal -x", JOBS=processes)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

test-adapters: test-transformers test-sglang test-vllm test-lmcache ## the adapters against the real engines, each in an environment of its own

test-transformers: $(VENV)/.set-dev ## the transformers adapter, with a small real model
	$(BIN)/python -m pytest -n 0 tests/adapters/test_transformers.py $(PYTEST_ARGS)

test-sglang: $(VENV)-sglang/.set ## the SGLang backend under SGLang 0.5.23: its factory, pools, controllers and radix tree
	$(VENV)-sglang/bin/python -m pytest -p no:cacheprovider -W default tests/real $(PYTEST_ARGS)

test-vllm: $(VENV)-vllm/.set ## the vLLM tier under vLLM 0.33 (4 GB), then test-vllm-engine
	$(VENV)-vllm/bin/python -m pytest -p no:cacheprovider -W default tests/real $(PYTEST_ARGS)
	$(MAKE) test-vllm-engine

test-vllm-engine: $(VENV)-vllm-engine/.set ## the vLLM connector in the real engine on a CPU, vLLM 0.32 (3 GB)
	$(VENV)-vllm-engine/bin/python -m pytest -p no:cacheprovider -W default -o faulthandler_timeout=0 tests/real $(PYTEST_ARGS)

test-lmcache: $(VENV)-lmcache/.set ## the LMCache adapters under LMCache 0.5.6: its storage managers, hashing and eviction (2 GB)
	$(VENV)-lmcache/bin/python -m pytest -p no:cacheprovider -W default tests/real $(PYTEST_ARGS)

check: $(VENV)/.set-dev ## lint, format, types, import direction, docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/interrogate lsmkv lsmkv_tensor

bench: $(VENV)/.set-bench ## both suites against their peers (BENCH_ARGS= for the full, slow run)
	$(BIN)/python -m bench index $(BENCH_ARGS)
	$(BIN)/python -m bench pages $(BENCH_ARGS)

lessons: $(VENV)/.set-dev ## run docs/lessons: pages, exercises with and without their solutions (LESSONS="3 5")
	$(BIN)/python docs/lessons/run.py $(LESSONS)

notebooks: $(VENV)/.set-notebooks ## execute docs/notebooks and compare what they put out
	$(BIN)/python docs/notebooks/run.py $(NOTEBOOKS)

docs: $(VENV)/.set-dev ## write again what is made by commands: docs/cli.md, README.md's tree, pictures of docs/policies, tables
	$(BIN)/python -m lsmkv.cli.reference docs/cli.md
	$(BIN)/python docs/readme_tree.py README.md
	$(BIN)/python docs/metrics_page.py docs/metrics.md
	$(BIN)/python docs/switch_debt.py docs/switching.md
	$(BIN)/python docs/controller_page.py docs/controller.json docs/controller.md
	$(BIN)/python docs/conformance_page.py docs/conformance.json docs/conformance.md
	$(BIN)/python docs/policy_pictures.py docs/policies
	$(BIN)/python docs/lab_tables.py docs/cost-model.md
	$(BIN)/python docs/lab_page.py docs/lab.md
	$(BIN)/lsmkv lab curves --plots docs/lab
	$(BIN)/python docs/lessons/run.py --draw
	$(BIN)/python docs/lessons/run.py --write
	$(BIN)/python -m bench docs

validate: $(VENV)/.set-dev ## measure again how near the cost model comes, and write the pages (15 quiet minutes; NOTE="of the machine")
	$(BIN)/python docs/validate.py --note "$(NOTE)"

format: $(VENV)/.set-dev ## let ruff format the code and repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove everything that make made: environment, caches, fetched weights, the demo's store
	rm -rf $(VENV) $(VENV)-* .cache .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ---------------------------------------------------------------------------------------------------------

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "lsmkv needs Python 3.11 to 3.13, but $(PYTHON) is $$($(PYTHON) --version 2>&1): try make PYTHON=python3.11"; exit 1; }
	@echo "==> creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.set-demo: $(VENV)/.made $(NEEDS)
	@echo "==> installing what the demo needs (PyTorch, transformers; some minutes, once)"
	@$(PIP) -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.set-dev: $(VENV)/.made $(NEEDS)
	@echo "==> installing what tests and checks need (PyTorch, transformers, tools; some minutes, once)"
	@$(PIP) -c constraints.txt -e '.[dev,demo,bench,metrics]'
	@touch $@

$(VENV)/.set-bench: $(VENV)/.made $(NEEDS)
	@echo "==> installing what the benchmarks need (PyTorch, peer databases; some minutes, once)"
	@$(PIP) -c constraints.txt -e '.[bench]'
	@touch $@

$(VENV)/.set-notebooks: $(VENV)/.made $(NEEDS)
	@echo "==> installing what the notebooks need (PyTorch, a Jupyter kernel; some minutes, once)"
	@$(PIP) -c constraints.txt -e '.[notebooks]'
	@touch $@

# An engine's own environment holds exactly the versions of constraints/ENGINE.txt: engines ask for builds of torch and of
# kernels that their caches do not need on a machine without a GPU, so nothing is resolved.
$(VENV)-%/.set: constraints/%.txt pyproject.toml
	@echo "==> installing $* and what its cache needs (1 to 2 GB; some minutes, once)"
	@$(PYTHON) -m venv $(VENV)-$*
	@$(VENV)-$*/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off --no-deps -r $<
	@$(VENV)-$*/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off --no-deps -e .
	@touch $@

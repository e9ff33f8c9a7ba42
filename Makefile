# Everything a reader needs. `make help` lists the commands.
#
# The environment is made once, in .venv, and remade only when pyproject.toml or constraints.txt change. Every step may be
# interrupted and called again: what is finished is not done twice.

PYTHON      ?= python3
# Exact versions for what gets installed. `make book CONSTRAINTS=` takes the newest ones instead, in a fresh environment:
# packages that already lie in .venv are left as they are, so delete it first.
CONSTRAINTS ?= constraints.txt
# smoke, book, inception or paper.
PROFILE     ?= book
# Folder with weights and photographs, see the chapter "How to run".
DATA        ?=
SEED        ?= 0
PORT        ?= 8000
PYTEST_ARGS ?=
# Notebooks, or workers of the tests, that run at once, and the threads of each. Results do not depend on JOBS. They depend
# on THREADS in their last digits, because sums are added in another order: so one, on any machine. Artefacts in
# .groupcc that were made with other THREADS are used again as they are; delete them to have all of one kind.
JOBS        ?= 2
THREADS     ?= 1

VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check
PINNED := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
INPUTS := pyproject.toml $(CONSTRAINTS)
# macOS takes `xgboost`, everybody else `xgboost-cpu` of the same version; pins have no markers, so both are listed.
TWINS  := /^xgboost-cpu==/ { other = $$0; sub("-cpu", "", other); print other } { print }

export OMP_NUM_THREADS      := $(THREADS)
export MKL_NUM_THREADS      := $(THREADS)
export OPENBLAS_NUM_THREADS := $(THREADS)
export NUMBA_NUM_THREADS    := $(THREADS)
# Large pages for large tensors: without them a training step spends a fifth of its time on page faults.
export THP_MEM_ALLOC_ENABLE := 1

ifneq ($(strip $(DATA)),)
# Asked before anything is installed or measured.
ifeq ($(wildcard $(DATA)/.),)
$(error DATA=$(DATA) is not a folder)
endif
export GROUPCC_DATA := $(abspath $(DATA))
endif

.DEFAULT_GOAL := help
.PHONY: help env book test serve data-folder inception bench bench-gpu sync pin lint constraints clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /|/' | awk -F'|' '{printf "  make %-11s %s\n", $$1, $$2}'
	@echo
	@echo "  PROFILE=smoke|book|inception|paper   DATA=folder   SEED=0   PORT=8000   JOBS=2   THREADS=1   PYTHON=python3.11"

# Calling venv again on a half-made environment completes it and keeps what is installed.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {v[0]}.{v[1]}; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made (on Debian: apt-get install python3-venv)"; exit 1; }
	@touch $@

# pip leaves alone what is already there in the right version, so an interrupted installation goes on where it stopped.
$(VENV)/.env-%: $(VENV)/.made $(INPUTS)
	$(PIP) install $(PINNED) -e '.[$*]'
	@touch $@

# Make would otherwise delete a stamp as an intermediate file.
.PRECIOUS: $(VENV)/.env-%

env: $(VENV)/.env-book,test ## make the virtual environment with exact versions

book: env ## run every notebook, build the book, check its pages
	$(PY) -m bookmaker book --profile $(PROFILE) --seed $(SEED) --jobs $(JOBS) --threads $(THREADS)

test: env ## run all tests
	$(PY) -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

serve: env ## show the built book at http://localhost:8000
	$(PY) -m bookmaker serve --profile $(PROFILE) --port $(PORT)

data-folder:
	@test -d "$$GROUPCC_DATA" || { echo "make inception needs the folder with the weights and photographs: make inception DATA=folder"; exit 2; }

inception: data-folder env ## the same chapters on InceptionV1: make inception DATA=folder
	$(PY) -m groupcc_lite cost --profile inception
	$(PY) -m bookmaker book --profile inception --seed $(SEED) --jobs $(JOBS) --threads $(THREADS)

bench: $(VENV)/.env-book,test,bench,browser ## measure speed and memory against plain ways
	$(PY) -m benchmarks

bench-gpu: $(VENV)/.env-book,test,bench,browser ## the same for the main stages on a GPU; fails where there is none
	$(PY) -m benchmarks.gpu

sync: env ## write the .ipynb twins of notebooks/*.py, and repeat version and address where files name them
	$(PY) -m bookmaker sync

pin: env ## let the .ipynb twins install this commit, for the branch that Colab opens
	$(PY) -m bookmaker pin

lint: env ## check style
	$(PY) -m ruff check groupcc_lite bookmaker tests benchmarks notebooks

constraints: ## write constraints.txt anew from the newest versions that work together
	rm -rf _build/constraints && $(PYTHON) -m venv _build/constraints
	_build/constraints/bin/python -m pip install -e '.[book,test,browser,bench,interop]'
	{ sed -n '/^#/p' constraints.txt; _build/constraints/bin/python -m pip freeze --all --exclude pip --exclude-editable | awk '$(TWINS)'; } > _build/constraints.txt
	mv _build/constraints.txt constraints.txt
	rm -rf _build/constraints

clean: ## delete the built pages; the environment and the artefacts in .groupcc stay
	rm -rf _build

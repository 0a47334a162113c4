# spikeprint: `make run` and `make test` need nothing but Python 3.11, make and git.

VENV ?= .venv
PYTHON ?= python3.11
# cpu | cuda; by default cuda where an NVIDIA GPU answers
TORCH ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Where `dvc push` puts data by default: outside the work tree, shared by this user's clones
REMOTE ?= $(or $(XDG_DATA_HOME),$(HOME)/.local/share)/spikeprint/dvc-remote

# Processes of `make test`
JOBS ?= 2

BIN := $(VENV)/bin
STAMP := $(VENV)/.ready-$(TORCH)
export PATH := $(abspath $(BIN)):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help setup remote run test lint ui team-up serve params-page clean

help:  ## list these targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) remote  ## create the environment in .venv/

$(STAMP): pyproject.toml constraints.txt
	@VENV="$(VENV)" PYTHON="$(PYTHON)" TORCH="$(TORCH)" TORCH_INDEX="$(TORCH_INDEX)" sh tools/setup.sh
	@touch $@

remote: $(STAMP)
	@$(BIN)/dvc remote default >/dev/null 2>&1 || { \
	  mkdir -p "$(REMOTE)" && $(BIN)/dvc remote add --local --default storage "$(REMOTE)" >/dev/null \
	  && echo "DVC remote: $(REMOTE) (in .dvc/config.local, not in git)"; }

run: setup  ## data -> features -> models -> report, then MLflow runs and the registered model
	@$(BIN)/spikeprint run

test: setup  ## run all tests
	@started=$$(date +%s); $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS) && echo "make test: $$(( $$(date +%s) - started )) s"

lint: setup  ## ruff and mypy
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

ui: setup  ## MLflow's pages on http://127.0.0.1:5000 (one worker, no job runner: 0.5 GB instead of 1.9)
	@$(BIN)/spikeprint sync
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --workers 1 --port $(or $(PORT),5000)

team-up: setup  ## MLflow with users, PostgreSQL and an S3 store for several people, see docs/team.md
	@$(BIN)/python -c "import dvc_s3, flask_wtf, nanio, psycopg" 2>/dev/null \
	  || $(BIN)/python -m pip install -q -c constraints.txt -e '.[team]'
	@$(BIN)/spikeprint team up $(ARGS)

serve: setup  ## serve the production model on http://127.0.0.1:5001
	@$(BIN)/spikeprint serve --port $(or $(PORT),5001)

params-page: setup  ## rewrite docs/params.md from the declarations
	@$(BIN)/python -m spikeprint.report.params_page

clean:  ## remove the environment and what can be rebuilt (not data, not DVC's cache)
	rm -rf $(VENV) mlflow.db* mlruns mlartifacts .pytest_cache .ruff_cache .mypy_cache

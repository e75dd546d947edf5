# Callboard. 'make help' lists every verb. Needs Python 3.11–3.13, make and a shell; sets itself up in .venv.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh

# Settings of the set-up: PYTHON=python3.13 picks the Python; TORCH_INDEX is the index of torch's CPU builds (may be empty).
PYTHON ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ARGS ?=
export PYTHON TORCH_INDEX

VENV := .venv/bin
# Whatever can run the set-up: the environment's own Python once there is one, else one on the PATH.
ANY_PYTHON := $(if $(realpath .venv/bin/python),.venv/bin/python -S,$(shell for p in $(PYTHON) python3 \
    python3.13 python3.12 python3.11 python; do command -v "$$p" && break; done))
BOOTSTRAP = $(if $(ANY_PYTHON),$(ANY_PYTHON) deploy/embedded/bootstrap.py,echo "Callboard needs Python 3.11, 3.12 or 3.13; none is on this machine." >&2; exit 1;)

.PHONY: help setup demo run stop sign-in backup restore init test test-slow chaos soak check security audit bench chart simulate fuzz docs format e2e-compose lock lock-arm64 sbom models new-worker clean distclean installed tools

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z][a-z0-9-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo

##@ Use it
demo: installed ## Start a stack, run real jobs over HTTP, show the results, end it
	@$(VENV)/python -m callboard_embedded demo $(ARGS)

run: installed ## Run the stack on 127.0.0.1:8000 until Ctrl-C (CALLBOARD_PORT, CALLBOARD_HOME)
	@$(VENV)/python -m callboard_embedded run $(ARGS)

stop: installed ## End the stack that runs on .callboard, from another terminal
	@$(VENV)/python -m callboard_embedded stop $(ARGS)

sign-in: installed ## Print a new link that signs in to the console
	@$(VENV)/python -m callboard_embedded sign-in

backup: installed ## Write the stack's data to one file, also while it runs (ARGS=FILE)
	@$(VENV)/python -m callboard_embedded backup $(ARGS)

restore: installed ## Put a backup in place (ARGS=FILE, or ARGS="--replace FILE")
	@$(VENV)/python -m callboard_embedded restore $(ARGS)

init: ## Make a .env with new secrets, for docker compose (adds what is missing, changes nothing)
	@$(if $(ANY_PYTHON),$(ANY_PYTHON) deploy/init.py,echo "make init needs a Python 3." >&2; exit 1)

models: installed ## List the models that jobs can name, and load each once (ARGS=--list only lists)
	@$(VENV)/python -m callboard_nlp.default_models
	@$(VENV)/python -m callboard_vision.default_models
	@$(VENV)/python -m callboard_embedded models $(ARGS)

setup: installed ## Set up .venv alone (PYTHON=python3.13, TORCH_INDEX=…); again: nothing to do

##@ Work on it
test: tools ## Run the tests (ARGS="tests/unit -k ledger" to choose)
	@$(VENV)/python -m pytest -m "not slow" $(ARGS)

test-slow: tools ## Run the slow ones: kills, trainings, chaos in short (CI runs both)
	@$(VENV)/python -m pytest -m slow $(ARGS)

e2e-compose: tools ## Build and run docker-compose.yml for real: load, scaling, kills, restarts (needs Docker)
	@$(VENV)/python -m pytest tests/compose -s $(ARGS)

chaos: tools ## Kill, stop and cut everything at random, print what came of it (ARGS="-k ledger")
	@CALLBOARD_CHAOS=$${CALLBOARD_CHAOS:-full} $(VENV)/python -m pytest tests/chaos --ignore tests/chaos/test_soak.py $(ARGS)

soak: tools ## An hour of jobs and kills in which nothing may grow; draws it (CALLBOARD_SOAK_S=900)
	@CALLBOARD_CHAOS=full CALLBOARD_SOAK_PLOT=docs/images/soak.svg $(VENV)/python -m pytest tests/chaos/test_soak.py $(ARGS)

check: tools ## Lint, format, types and import rules
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports --no-logo

security: tools ## make audit, the fences between keys, every kind of bad input; prints a table
	@$(VENV)/python deploy/audit.py
	@$(VENV)/python -m pytest tests/security $(ARGS)

simulate: ## How long jobs would wait with so many workers (ARGS="--rate 20 --mean 0.4 --p95 1.2")
	@$(if $(ANY_PYTHON),$(ANY_PYTHON) deploy/simulate.py $(ARGS),echo "make simulate needs a Python 3." >&2; exit 1)

fuzz: tools ## Search for input that nobody expects (CALLBOARD_FUZZ_SEED=7 for the same again)
	@CALLBOARD_FUZZ=1 $(VENV)/python -m pytest tests/fuzz --timeout 3600 $(ARGS)

audit: tools ## Known flaws of dependencies, flawed code, secrets in sources (ARGS=--strict fails offline)
	@$(VENV)/python deploy/audit.py $(ARGS)

chart: tools ## Check the Helm chart and render it into dist/chart.yaml (ARGS="-f my-values.yaml")
	@mkdir -p dist
	@$(VENV)/python deploy/helm.py lint --quiet deploy/kubernetes --set secrets.existing=callboard $(ARGS)
	@$(VENV)/python deploy/helm.py template callboard deploy/kubernetes --set secrets.existing=callboard $(ARGS) > dist/chart.yaml
	@echo "dist/chart.yaml: $$(grep -c '^kind:' dist/chart.yaml) objects"

format: tools ## Put the code in form
	@$(VENV)/ruff check --fix --quiet . ; $(VENV)/ruff format .

bench: tools ## Measure against plain Celery, taskiq and dramatiq; prints a table of ratios
	@$(VENV)/python -m bench $(ARGS)

docs: tools ## Write the generated parts of README and docs anew from the code
	@$(VENV)/python docs/generate.py $(ARGS)

new-worker: tools ## Scaffold a worker and its first job type: make new-worker NAME=audio
	@$(VENV)/python deploy/new_worker.py "$(NAME)"

lock: tools ## Make the hashed lock file of each service image anew from constraints.txt
	@$(VENV)/python deploy/lock.py $(ARGS)

lock-arm64: tools ## Ask the index whether each lock can be installed on 64-bit ARM (some minutes)
	@$(VENV)/python deploy/lock_arm64.py $(ARGS)

sbom: tools ## List what each service image holds, with hashes and licences: CycloneDX in dist/sbom/
	@$(VENV)/python deploy/sbom.py $(ARGS)

##@ Tidy up
clean: ## Remove caches and build leftovers
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -name .venv -prune -o -name .git -prune -o -name .callboard -prune -o \
	    \( -name __pycache__ -o -name build \) -type d -print | xargs rm -rf

distclean: clean ## Remove .venv as well; your data in .callboard stays
	@rm -rf .venv

# Set-up happens by itself, once; these do nothing when nothing changed.
installed:
	@$(BOOTSTRAP) run
tools:
	@$(BOOTSTRAP) dev

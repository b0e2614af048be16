# The names of the jobs. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
SYNCED := .venv/.synced
VERSIONS := src/quadra_matrix/storage/migrations/versions

.DEFAULT_GOAL := help
.PHONY: help run test lint lock migration monitoring

help: ## list the jobs
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(SYNCED): pyproject.toml uv.lock scripts/bootstrap.py
	@$(PYTHON) scripts/bootstrap.py
	@$(UV) sync --quiet --frozen --extra all --extra testing
	@touch $@

run: $(SYNCED) ## start the service with a trained sample model
	@$(BIN)/quadra serve --sample

test: $(SYNCED) ## run every test, fast ones first
	@$(BIN)/pytest -q -m "not slow" -n 2
	@$(BIN)/pytest -q -m slow

lint: $(SYNCED) ## style, types, import contracts, owners
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/pytest -q tests/contracts/test_owners.py

lock: ## resolve every version again and export requirements.txt
	@$(UV) lock
	@$(UV) export --quiet --frozen --no-hashes --no-header --no-dev --extra all -o requirements.txt

migration: $(SYNCED) ## write the revision that follows the newest: make migration m='add rollouts'
	@$(BIN)/python scripts/new_migration.py "$(m)"
	@$(BIN)/ruff check --quiet --fix-only $(VERSIONS) && $(BIN)/ruff format --quiet $(VERSIONS)

monitoring: $(SYNCED) ## write k8s/monitoring and the page of metrics from the table
	@$(BIN)/python scripts/make_monitoring.py

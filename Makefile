# The names of the jobs. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
SYNCED := .venv/.synced
IMAGE ?= quadra-matrix:latest
IMAGE_EXTRAS := service docs redis tls tracing backup
# The wheels of Debian bookworm, which the image rests on, and what is older.
IMAGE_PLATFORMS := $(foreach libc,2_36 2_35 2_34 2_31 2_28 2_27 2_26 2_24 2_17 2_12 2_5,manylinux_$(libc)_x86_64) \
                   manylinux2014_x86_64 manylinux2010_x86_64 manylinux1_x86_64
VERSIONS := src/quadra_matrix/storage/migrations/versions

.DEFAULT_GOAL := help
.PHONY: help run test lint lock migration monitoring wheels image

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

wheels: $(SYNCED) ## collect the wheels of the image in build/wheels, each with the hash of uv.lock
	@rm -rf build/wheels && mkdir -p build/wheels
	@$(UV) export --quiet --frozen --no-header --no-dev --no-emit-project $(IMAGE_EXTRAS:%=--extra %) -o build/locked.txt
	@$(UV) pip compile --quiet --no-deps --no-header --no-annotate --generate-hashes --python-version 3.11.0 \
	    --python-platform x86_64-manylinux_2_36 build/locked.txt -o build/wheels/locked.txt  # markers are decided here
	@$(UV) tool run --quiet pip download --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
	    --python-version 3.11 --implementation cp $(IMAGE_PLATFORMS:%=--platform %) \
	    --dest build/wheels --requirement build/wheels/locked.txt
	@$(UV) build --quiet --wheel --out-dir build/wheels
	@rm -f build/wheels/.gitignore

image: wheels ## build the container image
	@docker build --quiet --tag $(IMAGE) --build-arg REVISION=$(shell git rev-parse --short HEAD) \
	    --build-arg VERSION=$(shell $(BIN)/python -c "import quadra_matrix; print(quadra_matrix.__version__)") .

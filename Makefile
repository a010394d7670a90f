# `make serve` and `make test` are all you need to start with; `make help` lists the rest.
PYTHON ?= python3
SERVICE := .venv
DEV := .venv-dev
CLIENTS := .venv-clients
RAY := .venv-ray
RIVALS := .venv-rivals
NAME ?= cnn
FULL ?= $(if $(filter cnn,$(NAME)),--full)# the default network is also evaluated beyond MNIST, which takes minutes
IMAGE ?= digits
# one process more than there are cores, because tests often wait for others
PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
# the tests of a module share servers; tests/conftest.py says in which order modules begin
PARALLEL ?= --numprocesses $(PROCESSES) --dist loadscope --no-loadscope-reorder
ENGINE ?= $(shell command -v podman || command -v docker || echo docker)

.DEFAULT_GOAL := help
.PHONY: serve test test-all resilience check format train evaluate notebook docs bench bench-peers bench-rivals openapi examples lock image clean help

serve: $(SERVICE)/ready  ## serve on port 8000 with the models in models/
	DIGITS_LOG_FORMAT=$${DIGITS_LOG_FORMAT:-text} exec $(SERVICE)/bin/python -m app

test: $(DEV)/ready  ## run the tests that need only Python; ARGS=--cov also measures coverage, in twice the time
	$(DEV)/bin/python -m pytest $(PARALLEL) --no-extras $(ARGS)

test-all: $(DEV)/ready $(CLIENTS)/ready $(RAY)/ready $(RIVALS)/ready  ## also run the tests that need a browser, containers, databases, Ray …
	$(DEV)/bin/python -m pytest $(PARALLEL) $(ARGS)

resilience: $(DEV)/ready  ## run load, faults and fuzzing in full: 40 minutes; prints the figures of docs/reliability.md
	DIGITS_RESILIENCE=full $(DEV)/bin/python -m pytest tests/resilience $(ARGS)

check: $(DEV)/ready  ## ruff, mypy --strict, import contracts
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

format: $(DEV)/ready  ## format the code with ruff, and fix what it can fix
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

train: $(DEV)/ready  ## train, export and evaluate one network: make train NAME=cnn
	$(DEV)/bin/python -m training train $(NAME) $(ARGS)
	$(DEV)/bin/python -m training export $(NAME)
	$(DEV)/bin/python -m training evaluate $(NAME) $(FULL)

evaluate: $(DEV)/ready  ## evaluate one network on the test set: make evaluate NAME=cnn
	$(DEV)/bin/python -m training evaluate $(NAME) $(FULL)

notebook: $(DEV)/ready  ## run notebooks/digits.ipynb from top to bottom and store its outputs: five minutes
	$(DEV)/bin/python -m notebooks

docs: $(DEV)/ready  ## build the documentation and openapi.json as a site, in site/; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(DEV)/bin/python -m mkdocs build --strict

bench: $(DEV)/ready  ## measure speed, memory and start: ten minutes; needs wrk; writes bench.json
	$(DEV)/bin/python -m benchmarks $(ARGS)

bench-peers: $(DEV)/ready  ## compare with other ways to serve: half an hour; needs wrk, java and MNIST
	$(DEV)/bin/python -m benchmarks.peers $(ARGS)

bench-rivals: $(RIVALS)/ready  ## read labelled pictures, also with PP-OCR: make bench-rivals ARGS="FOLDER…"
	$(RIVALS)/bin/python -m benchmarks.rivals $(ARGS)

openapi: $(DEV)/ready  ## write openapi.json, as a running service serves it at /openapi.json
	$(DEV)/bin/python -m docs.hook > openapi.json

examples: $(DEV)/ready  ## record the examples of openapi.json from a running service
	$(DEV)/bin/python -m tests.api.examples

lock: $(DEV)/ready  ## choose the newest versions that pyproject.toml allows, and pin them by hash
	$(DEV)/bin/python -m uv pip compile $(LOCK) -o requirements/service.txt pyproject.toml
	$(DEV)/bin/python -m uv pip compile $(LOCK) -o requirements/feedback.txt -c requirements/service.txt \
		--extra feedback pyproject.toml
	$(DEV)/bin/python -m uv pip compile $(LOCK) -o requirements/full.txt -c requirements/feedback.txt \
		$(SERVICE_EXTRAS:%=--extra %) pyproject.toml
	$(DEV)/bin/python -m uv pip compile $(LOCK) -o requirements/ray.txt -c requirements/service.txt \
		requirements/ray.in pyproject.toml
	$(DEV)/bin/python -m uv pip compile $(LOCK) -o requirements/rivals.txt -c requirements/service.txt \
		requirements/rivals.in pyproject.toml
	$(DEV)/bin/python -m uv pip compile $(LOCK) -o requirements/dev.txt -c requirements/full.txt \
		--all-extras pyproject.toml
	$(DEV)/bin/python -m uv pip compile $(LOCK) -o requirements/clients.txt requirements/clients.in
SERVICE_EXTRAS := client feedback grpc labelstudio mcp tracing
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"

image:  ## build the container image, and write sbom.json, its software bill of materials
	$(ENGINE) build $(if $(findstring podman,$(ENGINE)),--format docker) $(BUILD_ARGS) -t $(IMAGE) .
	$(ENGINE) run --rm --network none $(IMAGE) cat /opt/digits/sbom.json > sbom.json

clean:  ## remove environments and caches, but keep training runs
	rm -rf $(SERVICE) $(DEV) $(CLIENTS) $(RAY) $(RIVALS) .venv-peers site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## list the commands
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(SERVICE)/ready: requirements/service.txt
$(DEV)/ready: requirements/dev.txt
$(CLIENTS)/ready: requirements/clients.txt
$(RAY)/ready: requirements/ray.txt
$(RIVALS)/ready: requirements/rivals.txt
%/ready:
	@$(PYTHON) requirements/install.py $(basename $(notdir $<)) $*
	@touch $@

# The project's commands; `make help` lists them. Each installs what it needs first, and is quick when nothing is missing.

PYTHON ?= python3
VENV := .venv/bin
DRIVER ?=
KEEP ?=
# Arguments for pytest, as in: make test ARGS="tests/unit -k locks"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-stop test check lint lint-protos lint-console console protos release-protos format bench bench-lists bench-history torture torture-points clean install-demo install-test
export PYTHON DRIVER KEEP
# Node, where tools/install.sh had to bring it.
export PATH := $(CURDIR)/.venv/node/bin:$(PATH)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: install-demo ## Run the main job end to end on this machine (DRIVER=qemu or sim, KEEP=1 leaves it running)
	@tools/build_console.sh
	@$(VENV)/python -m tools.demo

demo-stop: ## Stop what `make demo KEEP=1` left running, and remove it
	@$(VENV)/python -m tools.demo --stop

test: install-test ## Run all tests, in parallel
	@if command -v npm >/dev/null; then $(MAKE) -s --no-print-directory node_modules/.package-lock.json; fi
	@tools/build_console.sh
	@$(VENV)/python -m pytest -n auto --dist worksteal $(ARGS)

check: install-test lint lint-protos ## Style, types, layering, and that generated files are current

lint: install-test
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/mypy
	$(VENV)/lint-imports --no-logo
	$(VENV)/python -m tools.generate_protos --check

lint-protos: install-test ## Lint the protos and compare them with the released ones
	@if command -v npm >/dev/null; then \
		$(MAKE) -s --no-print-directory node_modules/.package-lock.json && tools/lint_protos.sh && \
		$(MAKE) -s --no-print-directory lint-console; \
	else \
		echo "lint-protos: skipped, npm is not installed"; \
	fi

protos: install-test ## Generate the Python code, the descriptor set and the console's TypeScript from protos/
	$(VENV)/python -m tools.generate_protos
	@if command -v npm >/dev/null; then \
		$(MAKE) -s --no-print-directory clients/web/node_modules/.package-lock.json && $(VENV)/python -m tools.generate_typescript; \
	fi

lint-console: clients/web/node_modules/.package-lock.json ## Types and unit tests of the web console, and that its generated TypeScript is current
	$(VENV)/python -m tools.generate_typescript --check
	cd clients/web && npx --no-install tsc --noEmit && npx --no-install vitest run --silent

console: clients/web/node_modules/.package-lock.json ## Build the web console into the package that the gateway serves
	cd clients/web && npx --no-install vite build

release-protos: install-test node_modules/.package-lock.json ## Make the protos the released ones; needs a changelog line
	$(VENV)/python -m tools.release_protos

format: install-test ## Format the code
	$(VENV)/ruff check --fix
	$(VENV)/ruff format

bench: install-test ## Measure, print, and write build/bench.json (ARGS="--only stalled" for a part)
	$(VENV)/python -m tools.bench $(ARGS)

bench-lists: install-test ## Measure what a page costs deep inside long lists; writes build/paging.json
	$(VENV)/python -m tools.bench.paging

bench-history: install-test ## Run 200,000 no-op jobs with 10,000 kept: nothing may grow (ARGS="--jobs 40000 --kept 1000")
	$(VENV)/python -m tools.bench.history $(ARGS)

# Arguments for the torture, as in: make torture MINUTES=5 SEED=7
MINUTES ?= 30
SEED ?=
torture: install-test ## Kill, stop, cut and starve a site for MINUTES under all operation types, then check it (SEED)
	@$(VENV)/python -m tests.torture --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

torture-points: install-test ## Every crash point, abort point and refused undo of every operation type; takes long, ends with a table
	@VIRTYARD_TORTURE=1 VIRTYARD_POINTS=build/points $(VENV)/python -m pytest -n auto --dist worksteal tests/faults/test_crash_points.py tests/faults/test_story_points.py tests/integration/crash \
		tests/acceptance/test_every_operation.py tests/integration/locks/test_properties.py \
		tests/faults/test_histories.py tests/faults/test_job_histories.py tests/faults/test_host_disk_histories.py $(ARGS); ended=$$?; $(VENV)/python -m tools.points build/points; exit $$ended

clean: ## Remove what can be made again, except .venv
	rm -rf build dist node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

install-demo:
	@tools/install.sh demo

install-test:
	@tools/install.sh test

# buf brings its program in a package of its own, so no install script has to run. Not `npm ci`: that wants every optional
# program of other platforms in the lock file, and a registry need not have them all.
node_modules/.package-lock.json: package.json package-lock.json
	npm install --no-save --ignore-scripts --no-progress --loglevel=error
	@touch $@

clients/web/node_modules/.package-lock.json: clients/web/package.json clients/web/package-lock.json
	cd clients/web && npm install --no-save --ignore-scripts --no-progress --loglevel=error
	@touch $@

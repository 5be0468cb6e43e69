# make run    everything from set-up to the open app on the embedded model
# make test   everything from set-up to passed tests
# Both set up what is missing and nothing twice.

PYTHON ?= python3
PORT ?= 8501
VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
AUDIT_VENV := .venv-audit

.PHONY: run test test-browser test-others test-gpu lint lint-deploy format docs space chromium bench bench-quick \
	bench-parity bench-load bench-ui audit pictures clean

run: $(VENV)/ready
	@$(BIN)/python -m gemma_viz app --port $(PORT)

# Side by side, because a browser leaves half of the machine idle; but never two browsers, which wait for each other.
test: lint chromium
	@$(MAKE) --no-print-directory --jobs 2 test-browser test-others

test-browser: $(VENV)/ready-dev
	$(BIN)/pytest -m browser

test-others: $(VENV)/ready-dev
	$(BIN)/pytest -n 1 -m "not browser"

# The same tests of captures and stages on a GPU.
test-gpu: $(VENV)/ready-dev
	GEMMA_VIZ_TEST_DEVICE=cuda $(BIN)/pytest -n 2 tests/stages tests/test_*.py

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What the operator's files say, as far as the tools to read them are here.
lint-deploy: $(VENV)/ready-dev
	@HADOLINT=$(BIN)/hadolint deploy/lint

format: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/ready-dev
	@$(BIN)/python -m docs.build

# The pictures of README.md, from the running app.
pictures: $(VENV)/ready-dev
	@$(BIN)/python -m docs.pictures

# The folder of a Hugging Face Space: what the Dockerfile needs, and a README that says how to run it.
space:
	@rm -rf build/space && mkdir -p build/space
	@git archive HEAD Dockerfile .dockerignore requirements.txt LICENSE NOTICE app.py overview.py .streamlit pages gemma_viz \
		| tar -x -C build/space
	@cp deploy/huggingface/README.md build/space
	@echo "The Space is in build/space; docs/operators.md says how to upload it."

# Against other libraries, which have an environment of their own.
bench: $(BENCH_VENV)/ready
	$(BENCH_VENV)/bin/python -m benchmarks.run

bench-quick: $(BENCH_VENV)/ready
	$(BENCH_VENV)/bin/python -m benchmarks.run --quick

bench-parity: $(VENV)/ready-dev
	$(BIN)/python -m benchmarks.parity

# Many visitors at once; then faults and bad input, with others looking on.
bench-load: $(VENV)/ready-dev
	$(BIN)/python -m benchmarks.load
	$(BIN)/python -m benchmarks.faults

# What a person waits for, in a real browser.
bench-ui: $(VENV)/ready-dev chromium
	$(BIN)/python -m benchmarks.ui

# Whether an advisory is known of a package that is installed here: what the requirements files name, and what that
# needs in turn. Advisories are asked for at pypi.org. What could not be asked about counts as a failure.
audit: $(VENV)/ready-dev $(AUDIT_VENV)/ready
	@$(AUDIT_VENV)/bin/pip-audit --strict --progress-spinner off --path $(VENV)/lib/python3*/site-packages \
		|| { echo "A package has a known vulnerability, or pypi.org does not tell: see above."; exit 1; }

# The stamps are newer than the requirements they were made from, so that a second run installs nothing.
$(VENV)/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Gemma Viz needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo "The venv module is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-serve.txt requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(BENCH_VENV)/ready: requirements.txt requirements-serve.txt requirements-dev.txt benchmarks/requirements.txt
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

$(AUDIT_VENV)/ready: Makefile
	@test -x $(AUDIT_VENV)/bin/python || $(PYTHON) -m venv $(AUDIT_VENV)
	$(AUDIT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@touch $@

# The browser tests drive Debian's Chromium.
chromium:
	@.ci/chromium

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(AUDIT_VENV) screenshots build dist *.egg-info

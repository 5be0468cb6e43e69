# make run    everything from set-up to the open app on the embedded model
# make test   everything from set-up to passed tests
# Both set up what is missing and nothing twice.

PYTHON ?= python3
PORT ?= 8501
VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench

.PHONY: run test test-gpu lint format docs chromium bench bench-quick bench-parity bench-load clean

run: $(VENV)/ready
	@echo "Gemma Viz: http://localhost:$(PORT)"
	@$(BIN)/streamlit run app.py --server.port $(PORT)

# Two processes share the fast tests; the browser has the machine for itself. Where the machine was too busy all the same,
# a browser test may try once more, and the report says so.
test: lint chromium
	$(BIN)/pytest -n 2 -m "not browser"
	$(BIN)/pytest -m browser --reruns 1

# The same tests of captures and stages on a GPU.
test-gpu: $(VENV)/ready-dev
	GEMMA_VIZ_TEST_DEVICE=cuda $(BIN)/pytest -n 2 tests/stages tests/test_*.py

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/ready-dev
	@$(BIN)/python -m docs.build

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

# The stamps are newer than the requirements they were made from, so that a second run installs nothing.
$(VENV)/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Gemma Viz needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo "The venv module is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(BENCH_VENV)/ready: requirements.txt requirements-dev.txt benchmarks/requirements.txt
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

# The browser tests drive Debian's Chromium.
chromium:
	@.ci/chromium

clean:
	rm -rf $(VENV) $(BENCH_VENV) screenshots build dist *.egg-info

# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Browser tests need Chromium; without it they are skipped.
CHROMIUM := $(firstword $(wildcard /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome))
# Two processes, each with its own share of the cores: without the second line they would get in each other's way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help setup chromium demo test test-full check format bench bench-gpu

help:
	@echo "make setup      create .venv and install sortal with all that its tests need"
	@echo "make demo       train on the embedded sample and say where the report is"
	@echo "make test       the tests that belong to every change, under 10 minutes"
	@echo "make test-full  all tests"
	@echo "make check      format, lint, types, layers"
	@echo "make format     put the code into its form"
	@echo "make bench      all that measure speed, as a table of ratios; ARGS=--quick for short forms, NAME=startup for one of them"
	@echo "make bench-gpu  CIFAR-10 on an accelerator beside airbench94_muon; ARGS=\"--data CIFAR10 --log\""

setup: $(INSTALLED) chromium

$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing into $(VENV); PyTorch is large, so this takes minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check -e ".[dev]" -c constraints.txt
	@touch $@

chromium:
ifeq ($(CHROMIUM),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Chromium for the browser tests"; \
		export DEBIAN_FRONTEND=noninteractive; \
		timeout 120 apt-get -qq update >/dev/null && timeout 600 apt-get -qq install -y --no-install-recommends chromium >/dev/null; \
	else false; fi </dev/null || echo "no Chromium: browser tests will be skipped (Debian: apt install chromium)"
endif

demo: $(INSTALLED)
	$(BIN)/sortal demo

test: $(INSTALLED) chromium
	$(PYTEST) -m "not slow"

test-full: $(INSTALLED) chromium
	$(PYTEST)

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-gpu: $(INSTALLED)
	$(BIN)/python -m benchmarks gpu-cifar10 $(ARGS)

bench: $(INSTALLED)
	@grep -v '^#' benchmarks/requirements.txt | while read -r peer; do \
		$(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check "$$peer" -c constraints.txt \
		|| echo "$$peer could not be installed: that peer is not run"; done
	$(BIN)/python -m benchmarks $(or $(NAME),suite) $(ARGS)

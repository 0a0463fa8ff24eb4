# Two commands do everything on a fresh Debian 12 machine: `make demo` and `make test`. Both set up what they need:
# Debian packages (as root, or with sudo), a virtual environment in .venv, this package and its dependencies.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell test $$(id -u) = 0 || echo sudo)
PYTEST := $(BIN)/python -m pytest -q

# What the lab and the tests run besides Python.
# A guest installs what it is made of by itself, where one is needed: tests/vm/guest/packages.py.
DEBIAN := openvswitch-switch openvswitch-common iproute2 iputils-ping util-linux kmod tcpdump tshark python3-venv

# What only benchmarks run. For a comparison with OVN there must be more, and $OVN_BENCH: ethtool ovn-central ovn-host.
BENCH_DEBIAN := iperf3

.DEFAULT_GOAL := help
.PHONY: help demo lab lab-down test check test-unit test-functional test-system test-vm bench setup packages bench-packages \
	format clean

help: ## Show this
	@sed -n 's/^\([a-z%-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup ## Three hosts, two tenants, an option of their own: watch it work in a minute
	$(SUDO) $(BIN)/ovs-geneve lab demo

lab: setup ## Leave a lab running beside a controller and say what to try (lab-down ends it)
	$(SUDO) $(BIN)/ovs-geneve lab run

lab-down: setup ## End the lab and its controller
	$(SUDO) $(BIN)/ovs-geneve lab down

test: check test-functional test-system test-vm ## Everything, in this order

check: $(VENV)/ready ## Format, lint, types, unit tests: no root, no Open vSwitch
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) tests/unit

test-unit: $(VENV)/ready ## The unit tests alone
	$(PYTEST) tests/unit

test-functional: setup ## Real ovs-vswitchd, ovsdb-server and tshark, no packets
	$(SUDO) $(PYTEST) tests/functional

test-system: setup ## Real packets in network namespaces; needs root
	$(SUDO) $(PYTEST) tests/system

test-vm: setup ## The kernel's datapath, in guests where this kernel has none; lists what was proved
	$(SUDO) $(BIN)/python -m tests.vm

bench: setup bench-packages ## Every benchmark, one after the other: at most 20 minutes
	$(SUDO) $(BIN)/python -m benchmarks

bench-%: setup bench-packages ## One of them, as in: make -s bench-encode (encode decode install resync ovsdb fleet scale rest restart dataplane groups verify)
	@$(SUDO) $(BIN)/python -m benchmarks.$*

format: $(VENV)/ready ## Format the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: packages $(VENV)/ready

packages: WANTED = $(DEBIAN)
bench-packages: WANTED = $(BENCH_DEBIAN)
packages bench-packages:
	@missing=$$(for p in $(WANTED); do \
		dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "Installing" $$missing; \
		$(SUDO) apt-get -qq update && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing; \
	fi

# python3-venv is among the Debian packages: on a machine without it the first target that needs it installs it.
$(VENV)/ready: setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e .[test]
	@touch $@

clean: ## Remove what the targets made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

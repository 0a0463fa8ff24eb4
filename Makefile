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

# What checks the Vagrant lab, and what boots it without a public box.
VAGRANT_CHECK_DEBIAN := vagrant vagrant-libvirt shellcheck
VAGRANT_DEBIAN := $(VAGRANT_CHECK_DEBIAN) libvirt-daemon-system libvirt-clients dnsmasq-base iptables qemu-system-x86 \
	qemu-utils mmdebstrap e2fsprogs rsync

.DEFAULT_GOAL := help
.PHONY: help demo lab lab-down test check test-unit test-functional test-system test-vm bench bench-kernel setup packages \
	bench-packages format clean deb vagrant-check vagrant-local vagrant-check-packages vagrant-packages

help: ## Show this
	@sed -n 's/^\([a-z%-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup ## Three hosts, two tenants, an option of their own: watch it work in a minute
	$(SUDO) $(BIN)/ovs-geneve lab demo

lab: setup ## Leave a lab running beside a controller and say what to try (lab-down ends it)
	$(SUDO) $(BIN)/ovs-geneve lab run

lab-down: setup ## End the lab and its controller
	$(SUDO) $(BIN)/ovs-geneve lab down

test: check vagrant-check test-functional test-system test-vm ## Everything, in this order

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

bench-kernel: setup bench-packages ## GENEVE in the kernel, in a guest where this one lacks the modules; leaves benchmarks/results/kernel.json
	@$(SUDO) $(BIN)/python -m benchmarks kernel

bench-%: setup bench-packages ## One of them, as in: make -s bench-encode (encode decode install resync ovsdb fleet scale rest restart dataplane groups verify kernel)
	@$(SUDO) $(BIN)/python -m benchmarks.$*

deb: $(VENV)/ready ## dist/ovs-geneve_VERSION_ARCH.deb, for hosts with the Python of this machine's distribution
	PIP_PYTHON=$(BIN)/python packaging/deb.sh

vagrant-check: vagrant-check-packages ## The Vagrantfile, scripts and units, without a machine: seconds
	vagrant/check.sh

vagrant-local: setup vagrant-packages deb ## Boot the Vagrant lab on a box of Debian packages and prove it: half an hour without KVM; MACHINES="controller hv1" for some
	$(SUDO) vagrant/local.sh $(MACHINES)

format: $(VENV)/ready ## Format the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: packages $(VENV)/ready

packages: WANTED = $(DEBIAN)
bench-packages: WANTED = $(BENCH_DEBIAN)
vagrant-check-packages: WANTED = $(VAGRANT_CHECK_DEBIAN)
vagrant-packages: WANTED = $(VAGRANT_DEBIAN)
packages bench-packages vagrant-check-packages vagrant-packages:
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

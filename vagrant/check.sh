#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make vagrant-check`: what can be said of the lab and the package's scripts and units without a machine.
set -eu
cd "$(dirname "$0")/.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
scripts="vagrant/*.sh packaging/deb.sh packaging/postinst packaging/prerm packaging/postrm"

skipped() { echo "not checked: $1 is not installed" >&2; }

for script in $scripts; do sh -n "$script"; done
if command -v shellcheck >/dev/null; then
	# shellcheck disable=SC2086 # names
	shellcheck --severity=warning $scripts
else
	skipped shellcheck
fi

if command -v vagrant >/dev/null; then
	export VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_HOME="$home" VAGRANT_DOTFILE_PATH="$home/machines"
	for driver in kvm qemu; do
		(cd vagrant && LAB_DRIVER=$driver VAGRANT_DEFAULT_PROVIDER=libvirt vagrant validate)
	done
	(cd vagrant && VAGRANT_DEFAULT_PROVIDER=virtualbox vagrant validate --ignore-provider)
elif command -v ruby >/dev/null; then
	skipped vagrant
	ruby -c vagrant/Vagrantfile
else
	skipped vagrant
fi

if command -v systemd-analyze >/dev/null; then
	# It also looks whether the command is there, which on this machine it is not.
	mkdir "$home/units"
	for unit in controller/units/*.service; do
		sed 's|^ExecStart=/opt/ovs-geneve/bin/ovs-geneve|ExecStart=/bin/true|' "$unit" >"$home/units/${unit##*/}"
	done
	said=$(systemd-analyze verify --man=no "$home"/units/*.service 2>&1) || { echo "$said" >&2; exit 1; }
	if [ -n "$said" ]; then
		echo "$said" >&2
		exit 1
	fi
else
	skipped systemd-analyze
fi

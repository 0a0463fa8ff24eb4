#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make vagrant-local`: package, box, machines, smoke test, on this machine alone. Needs root and Debian's packages.
#
#   local.sh [MACHINE...]       all of the lab by default
#   local.sh vagrant ssh hv1    any command among the machines that LAB_KEEP=1 left running
#   local.sh down               end them
#   LAB_DRIVER=kvm              where KVM works; qemu (emulation, minutes for each machine) by default
#   LAB_STATE=DIRECTORY         where box and machines are kept; not below a folder that only root may enter
#
# Where systemd runs libvirt, that is used. Else libvirtd and virtlogd are started here, in a network namespace of their
# own: their bridges, dnsmasq and packet filter then stay out of this machine's network.
set -eu
cd "$(dirname "$0")"
here=$(pwd)
state=${LAB_STATE:-/var/tmp/ovs-geneve-vagrant}
space=ovs-geneve-vagrant
export LAB_DRIVER="${LAB_DRIVER:-qemu}" LAB_BOX=ovs-geneve/lab
export VAGRANT_HOME="$state/home" VAGRANT_DOTFILE_PATH="$state/machines"
export VAGRANT_DEFAULT_PROVIDER=libvirt VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_NO_PARALLEL=1

began=$(date +%s)
say() { printf '[%3d s] %s\n' $(($(date +%s) - began)) "$*"; }

has_systemd() { [ -d /run/systemd/system ]; }

within() {
	if has_systemd; then "$@"; else ip netns exec "$space" "$@"; fi
}

daemon() {
	name=$1
	if [ -f "$state/$name.pid" ] && kill -0 "$(cat "$state/$name.pid")" 2>/dev/null; then return; fi
	within "$name" -d -p "$state/$name.pid"
}

libvirt_up() {
	if has_systemd; then
		systemctl start libvirtd.service
		return
	fi
	ip netns list | grep -qw "$space" || ip netns add "$space"
	ip -n "$space" link set lo up
	# Packets between machines pass a bridge here, not a packet filter.
	daemon virtlogd
	daemon libvirtd
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		virsh -q -c qemu:///system version >/dev/null 2>&1 && return
		sleep 1
	done
	echo "libvirtd does not answer: $state/libvirtd.pid, its log" >&2
	exit 1
}

down() {
	say "ending the machines"
	within vagrant destroy -f >/dev/null 2>&1 || true
	# The image that vagrant-libvirt made of the box.
	virsh -q -c qemu:///system vol-list default 2>/dev/null | awk '/ovs-geneve-VAGRANTSLASH-lab/ { print $1 }' |
		while read -r image; do virsh -q -c qemu:///system vol-delete --pool default "$image" >/dev/null || true; done
	for network in ovs-geneve-underlay vagrant-libvirt; do
		virsh -q -c qemu:///system net-destroy "$network" >/dev/null 2>&1 || true
		virsh -q -c qemu:///system net-undefine "$network" >/dev/null 2>&1 || true
	done
	if ! has_systemd; then
		for name in libvirtd virtlogd; do
			[ ! -f "$state/$name.pid" ] || kill "$(cat "$state/$name.pid")" 2>/dev/null || true
		done
		sleep 1
		ip netns delete "$space" 2>/dev/null || true
	fi
}

[ "$(id -u)" = 0 ] || { echo "local.sh makes file systems and networks: run it as root" >&2; exit 1; }
case ${1:-} in
down)
	down
	exit
	;;
vagrant)
	within "$@"
	exit
	;;
esac
mkdir -p "$state"
chmod 755 "$state"

box=$state/lab.box
if [ -z "$(find "$box" -newer "$here/box.sh" 2>/dev/null)" ]; then
	say "box of Debian packages"
	sh "$here/box.sh" "$box"
	vagrant box add --force --name "$LAB_BOX" "$box" >/dev/null
fi
say "libvirt, driver $LAB_DRIVER"
libvirt_up

status=0
machines=${*:-controller hv1 hv2 lx1}
for machine in $machines; do
	say "vagrant up $machine"
	within vagrant up "$machine" --no-color || { status=$?; break; }
done
if [ "$status" = 0 ]; then
	say "smoke.sh"
	within sh "$here/smoke.sh" || status=$?
fi
[ -n "${LAB_KEEP:-}" ] || down
say "status $status"
exit "$status"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prove a running lab: traffic between its hosts, with options, decoded off the wire. May be repeated.
#
# Two ports of one network and one that is in no group, on hosts that are up; which group may talk to which is judged
# where packets arrive, by an option. A host without Open vSwitch takes part like any other.
set -eu
cd "$(dirname "$0")"
controller=10.9.0.10:6680
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
began=$(date +%s)

say() { printf '[%3d s] %s\n' $(($(date +%s) - began)) "$*"; }

check() {
	what=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		say "ok: $what"
	else
		say "FAILED: $what"
		sed 's/^/    /' "$work/out"
		failed=1
	fi
}

# Runs the script on stdin, as root.
on() { ssh -q -F "$work/ssh" "$1" sudo env "OVS_GENEVE_SERVER=$controller" sh -eu; }

is_up() { grep -qx "$1" "$work/machines"; }

within() {
	on "$1" <<-SCRIPT
		ip netns exec $2 $3
	SCRIPT
}

refused() { ! "$@"; }

hosts_are_programmed() {
	for host in $hosts; do printf '%s\n' "$host"; done | sort >"$work/wanted"
	for _ in $(seq 40); do
		on controller <<-SCRIPT >"$work/hosts"
			ovs-geneve get hosts
		SCRIPT
		awk -F '\t' '$3 ~ /Programmed/ && $3 !~ /=/ { print $1 }' "$work/hosts" | sort >"$work/ready"
		[ -z "$(comm -23 "$work/wanted" "$work/ready")" ] && return
		sleep 3
	done
	cat "$work/hosts"
	return 1
}

declare_all() {
	on controller <<-SCRIPT
		cat >/tmp/smoke.yaml <<'YAML'
		$(cat smoke.yaml)
		YAML
		ovs-geneve apply --wait -f /tmp/smoke.yaml
	SCRIPT
}

plug() {
	host=$1 port=$2 number=$3
	on "$host" <<-SCRIPT
		ip netns list | grep -qw $port || ip netns add $port
		if [ ! -e /sys/class/net/$port ]; then
			ip link add $port mtu $mtu type veth peer name eth0 address 02:00:00:00:00:0$number mtu $mtu netns $port
			ip link set $port up
			ip -n $port link set eth0 up
			ip -n $port address add 10.0.0.$number/24 dev eth0
			ip -n $port address add 2001:db8::$number/64 dev eth0 nodad
		fi
		case $host in hv*)
			ovs-vsctl --timeout=30 --may-exist add-port br-int $port -- \\
				set Interface $port external_ids:iface-id=$port ;;
		esac
	SCRIPT
}

ports_are_programmed() {
	for _ in $(seq 20); do
		on controller <<-SCRIPT >"$work/ports"
			ovs-geneve get ports
		SCRIPT
		ready=$(awk -F '\t' '$3 ~ /Programmed/ && $3 !~ /=/ { print $1 }' "$work/ports" | grep -cxF -f "$work/plugged")
		[ "$ready" = "$(wc -l <"$work/plugged")" ] && return
		sleep 3
	done
	cat "$work/ports"
	return 1
}

# Pings PORT@HOST's address from web1 and shows what of it arrives on the underlay, by name.
conversation() {
	host=$1 port=$2 number=$3
	check "web1 -> $port, IPv4" within hv1 web1 "ping -q -c 3 -W 5 10.0.0.$number"
	check "web1 -> $port, IPv6" within hv1 web1 "ping -q -c 3 -W 5 2001:db8::$number"
	check "$port -> web1" within "$host" "$port" "ping -q -c 3 -W 5 10.0.0.1"
	check "guest1, which is in no group, does not reach $port" \
		refused within hv1 guest1 "ping -q -c 2 -W 2 10.0.0.$number"
	within hv1 web1 "ping -q -c 40 10.0.0.$number" >/dev/null &
	pinging=$!
	on "$host" <<-SCRIPT >"$work/decode" || true
		timeout 60 ovs-geneve decode --live eth1 -n 2
	SCRIPT
	case $host in hv*)
		check "the kernel's flows at $host have the options" on "$host" <<-SCRIPT
			ovs-appctl dpctl/dump-flows -m | grep -m 1 'geneve({class=0xff00,type=0x1,len=4,'
		SCRIPT
		sed 's/^ufid:[^,]*, *//; s/^/    /' "$work/out" | fold -w 150
		;;
	esac
	kill "$pinging" 2>/dev/null || true
	sed 's/^/    /' "$work/decode"
	check "both options are read off the wire at $host" grep -q 'tier=2.*zone=7.*identity' "$work/decode"
}

vagrant status --machine-readable | awk -F, '$3 == "state" && $4 == "running" { print $2 }' >"$work/machines"
# shellcheck disable=SC2046 # names
vagrant ssh-config $(cat "$work/machines") >"$work/ssh"
hosts=$(grep -v controller "$work/machines" | tr '\n' ' ')
say "machines: controller $hosts"
is_up controller && is_up hv1 || { echo "controller and hv1 have to be up: vagrant up" >&2; exit 1; }

check "hosts are enrolled and programmed" hosts_are_programmed
check "network, options, groups and policy are declared" declare_all
mtu=$(on controller <<-SCRIPT | sed -n 's/.*"mtu": \([0-9]*\).*/\1/p' | tail -1
	ovs-geneve get network blue -o json
SCRIPT
)
say "network blue carries packets of $mtu bytes"

plug hv1 web1 1
plug hv1 guest1 4
printf '%s\n' web1 guest1 >"$work/plugged"
if is_up hv2; then
	plug hv2 db1 2
	echo db1 >>"$work/plugged"
fi
if is_up lx1; then
	plug lx1 app1 3
	echo app1 >>"$work/plugged"
fi
check "ports are plugged and programmed" ports_are_programmed

if is_up hv2; then conversation hv2 db1 2; fi
if is_up lx1; then conversation lx1 app1 3; fi
if is_up hv2; then
	check "verify: every option arrives bit for bit, between hv1 and hv2" on controller <<-SCRIPT
		ovs-geneve verify --network blue --pair hv1:hv2 --pair hv2:hv1
	SCRIPT
	sed 's/^/    /' "$work/out"
fi
say "$([ "$failed" = 0 ] && echo "all well" || echo "not all well")"
exit "$failed"

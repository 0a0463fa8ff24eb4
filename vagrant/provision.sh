#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What an operator does on a machine of their own, in the same words: install the package, then start the controller
# or join it.
#
#   provision.sh controller|ovs|linux ADDRESS CONTROLLER
set -eu
role=$1 address=$2 controller=$3
package=/tmp/ovs-geneve.deb
export DEBIAN_FRONTEND=noninteractive

[ -f "$package" ] || { echo "no $package: \`make deb\` first, then \`vagrant provision\`" >&2; exit 1; }

case $role in
controller) needs="openvswitch-common" ;;
ovs) needs="openvswitch-switch" ;;
linux) needs="" ;;
*) echo "$role is none of controller, ovs, linux" >&2; exit 2 ;;
esac

echo "$(hostname): packages"
apt-get -qq update
# shellcheck disable=SC2086 # words, not a name
apt-get -qq install -y --no-install-recommends $needs "$package" >/dev/null
ovs-geneve --version

if [ "$role" = controller ]; then
	echo "$(hostname): controller"
	cat >/etc/default/ovs-geneve-controller <<-OPTIONS
		CONTROLLER_OPTIONS="--rest $address:6680 --ovsdb ptcp:6640:$address --openflow $address:6653"
	OPTIONS
	systemctl enable --now ovs-geneve-controller.service
else
	echo "$(hostname): join"
	ovs-geneve host join --controller "http://$controller:6680" --kind "$role" --endpoint "$address"
fi

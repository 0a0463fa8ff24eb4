#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Build dist/ovs-geneve_VERSION_ARCH.deb: this package and all it needs in one virtual environment, /opt/ovs-geneve,
# with units for systemd. A host needs Debian's python3 of the same minor version, and no network.
#
#   packaging/deb.sh [DIRECTORY]      where the .deb goes; dist by default
#
# SYSTEM_PYTHON is the Python it is for, that of the distribution; PIP_PYTHON one that has pip.
set -eu
cd "$(dirname "$0")/.."
out=${1:-dist}
python=${SYSTEM_PYTHON:-/usr/bin/python3}
pip_python=${PIP_PYTHON:-.venv/bin/python}
home=/opt/ovs-geneve

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
venv=$tree$home

step() { echo "deb: $*" >&2; }

step "wheel of the tree"
# Of a copy: setuptools would leave a build folder here, and take what lies in one that is there.
mkdir "$work/source"
tar -c --exclude-vcs --exclude='*.egg-info' --exclude=__pycache__ \
	setup.py setup.cfg pyproject.toml README.md LICENSE controller ovs_geneve | tar -x -C "$work/source"
"$pip_python" -m pip -q wheel --no-deps --wheel-dir "$work/wheels" "$work/source"

step "virtual environment for $("$python" -V)"
"$python" -m venv --without-pip --symlinks "$venv"
"$pip_python" -m pip -q --python "$venv/bin/python3" install --no-compile --root-user-action=ignore \
	--only-binary=:all: --no-binary=ovs "$work"/wheels/*.whl

step "paths of $home"
# Scripts of other packages, and activation, name the folder they were made in.
find "$venv/bin" -mindepth 1 ! -name 'python*' ! -name ovs-geneve -delete
sed -i "1s|^.*\$|#!$home/bin/python3|" "$venv/bin/ovs-geneve"
sed -i '/^command/d' "$venv/pyvenv.cfg"
# Bytecode comes with the package: services may not write there, and hosts should not take the time.
"$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$tree" -p / "$venv/lib"

version=$("$venv/bin/python3" -c 'from importlib.metadata import version; print(version("ovs-geneve"))')
minor=$("$python" -c 'import sys; print(*sys.version_info[:2], sep=".")')
next=$("$python" -c 'import sys; print(sys.version_info[0], sys.version_info[1] + 1, sep=".")')
arch=$(dpkg --print-architecture)

install -d "$tree/lib/systemd/system" "$tree/usr/bin" "$tree/etc/default" "$tree/usr/share/doc/ovs-geneve" "$tree/DEBIAN"
install -m 644 controller/units/*.service "$tree/lib/systemd/system/"
install -m 644 packaging/controller.default "$tree/etc/default/ovs-geneve-controller"
install -m 644 README.md CHANGELOG.md docs/operating.md "$tree/usr/share/doc/ovs-geneve/"
install -m 644 LICENSE "$tree/usr/share/doc/ovs-geneve/copyright"
ln -s "$home/bin/ovs-geneve" "$tree/usr/bin/ovs-geneve"
install -m 755 packaging/postinst packaging/prerm packaging/postrm "$tree/DEBIAN/"
echo /etc/default/ovs-geneve-controller >"$tree/DEBIAN/conffiles"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: ovs-geneve
Version: $version
Architecture: $arch
Maintainer: ovs-geneve <ovs-geneve@localhost>
Installed-Size: $(du -sk "$tree" | cut -f1)
Depends: python3 (>= $minor~), python3 (<< $next~), libc6 (>= 2.34)
Recommends: openvswitch-common
Suggests: openvswitch-switch
Section: net
Priority: optional
Description: SDN controller for GENEVE overlays, with options you declare
 The controller (its store needs openvswitch-common), the agent of a host, and the
 command ovs-geneve. Everything in Python that they need is in $home.
CONTROL

mkdir -p "$out"
deb=$out/ovs-geneve_${version}_$arch.deb
step "$deb"
dpkg-deb --root-owner-group -Zxz -z3 --build "$tree" "$deb" >/dev/null
echo "$deb"

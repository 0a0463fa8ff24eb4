#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make a box for libvirt of Debian packages alone: no public box, and machines that need no network of their own.
#
#   box.sh FILE
#
# Root file system by mmdebstrap, no partition table, no boot loader: libvirt boots kernel and initrd, which are in the
# box. What provision.sh installs lies in /var/lib/lab-packages, an apt repository like any other. Needs root.
set -eu
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

say() { echo "box: $*" >&2; }

cat >"$work/in-root.sh" <<'INSIDE'
set -eu
apt-get -qq install -y --no-install-recommends --download-only openvswitch-switch tcpdump >/dev/null
mkdir -p /var/lib/lab-packages
mv /var/cache/apt/archives/*.deb /var/lib/lab-packages/
(cd /var/lib/lab-packages && apt-ftparchive packages . >Packages)
echo 'deb [trusted=yes] file:/var/lib/lab-packages ./' >/etc/apt/sources.list

useradd --create-home --shell /bin/bash vagrant
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/vagrant
install -d -m 700 -o vagrant -g vagrant /home/vagrant/.ssh
printf 'auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n' >/etc/network/interfaces
echo '/dev/vda / ext4 defaults 0 1' >/etc/fstab
echo 'UseDNS no' >>/etc/ssh/sshd_config
INSIDE

say "packages"
mmdebstrap --quiet --variant=minbase \
	--include=linux-image-cloud-amd64,systemd-sysv,openssh-server,sudo,iproute2,iputils-ping,python3,ifupdown \
	--include=isc-dhcp-client,udev,dbus,ca-certificates,kmod,rsync,apt-utils \
	--customize-hook="upload $work/in-root.sh /tmp/in-root.sh" \
	--customize-hook="chroot \"\$1\" sh /tmp/in-root.sh" \
	bookworm "$root"
# The public half of the key that vagrant brings, Debian's package or HashiCorp's.
key=$(find /usr/share/rubygems-integration /opt/vagrant -path '*/keys/vagrant.pub' -print -quit 2>/dev/null)
[ -n "$key" ] || { echo "box: no keys/vagrant.pub: is vagrant installed?" >&2; exit 1; }
install -m 600 "$key" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown vagrant:vagrant /home/vagrant/.ssh/authorized_keys

say "image"
mkdir "$work/box"
cp "$(ls "$root"/boot/vmlinuz-*)" "$work/box/vmlinuz"
cp "$(ls "$root"/boot/initrd.img-*)" "$work/box/initrd.img"
truncate -s 4G "$work/box.raw"
mke2fs -q -t ext4 -d "$root" "$work/box.raw"
qemu-img convert -O qcow2 "$work/box.raw" "$work/box/box.img"
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 4}' >"$work/box/metadata.json"
cat >"$work/box/Vagrantfile" <<'VAGRANT'
Vagrant.configure("2") do |config|
  # The key that everybody has is good enough for machines that only this one reaches.
  config.ssh.insert_key = false
  config.vm.provider :libvirt do |machine|
    machine.kernel = File.join(__dir__, "vmlinuz")
    machine.initrd = File.join(__dir__, "initrd.img")
    machine.cmd_line = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off quiet"
  end
end
VAGRANT
chmod -R a+rX "$work/box"
say "archive"
tar -C "$work/box" -czf "$out" .
say "$out"

# SPDX-License-Identifier: Apache-2.0
"""A throw-away guest with a stock Debian kernel, for tests that this machine's own kernel has no modules for.

    packages.py   what a guest needs installed; the kernel, fetched once and cached
    initramfs.py  the first files the kernel sees: busybox, a few modules, the way to the shared file system
    scripts.py    what the guest does, as shell
    streams.py    output and exit code over virtio-serial ports
    qemu.py       the command line; KVM or not
    run.py        one command in one guest

The guest sees the machine's own files, read-only below an overlay of its own: what is installed here runs there, and
nothing it writes comes back, folders that were named apart. Standard library only, so that any Python runs it.
"""

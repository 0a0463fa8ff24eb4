# SPDX-License-Identifier: Apache-2.0
"""What the kernel refuses, named: the object, what was asked, and the kernel's words.

OvsGeneveError
└── KernelRefused       the kernel did not carry out a step
    ├── ModuleMissing   it lacks a module: `module` can be loaded or installed
    └── InTheWay        somebody else's device stands there
"""

from __future__ import annotations

from ovs_geneve.errors import OvsGeneveError


class KernelRefused(OvsGeneveError):
    """Raised or handed back for a step that failed. `subject` is the object, `request` what was asked of it."""

    def __init__(self, subject: str, request: str, errno_name: str, reason: str) -> None:
        super().__init__(f"{subject}: {request}: {reason}")
        self.subject = subject
        self.request = request
        self.errno_name = errno_name
        self.reason = reason
        self.retryable = errno_name in {"EAGAIN", "EBUSY", "ENOBUFS", "ENOMEM"}


class ModuleMissing(KernelRefused):
    """Raised or handed back when the kernel knows no such kind of object."""

    def __init__(self, subject: str, request: str, errno_name: str, module: str) -> None:
        super().__init__(subject, request, errno_name, f"the kernel lacks {module}: modprobe {module}")
        self.module = module
        self.retryable = False


class InTheWay(KernelRefused):
    """Raised or handed back when somebody else's device has our name, port, or VNI and remote."""

    def __init__(self, subject: str, request: str, errno_name: str, reason: str, holder: str) -> None:
        super().__init__(subject, request, errno_name, f"{reason}: {holder} is in the way")
        self.holder = holder

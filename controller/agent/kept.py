# SPDX-License-Identifier: Apache-2.0
"""What the kernel should hold, kept in a file: a host that boots while no controller answers is as it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from controller.errors import SetupError
from ovs_geneve.kernel.objects import KernelState

_FILE = "kernel.json"


class Kept:
    """The last parts, in a directory of the agent's."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / _FILE

    def load(self) -> Mapping[str, KernelState] | None:
        """Return what was kept; None when there is nothing, or nothing that can be read."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, KernelState])
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def save(self, parts: Mapping[str, KernelState]) -> None:
        """Keep parts; whoever is killed meanwhile leaves the old ones. Raises SetupError."""
        new = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with new.open("wb") as output:
                output.write(msgspec.json.encode(parts))
                output.flush()
                os.fsync(output.fileno())
            new.replace(self._file)
        except OSError as error:
            raise SetupError(f"cannot keep {self._file}: {error.strerror}") from error

    def forget(self) -> None:
        """Keep nothing."""
        self._file.unlink(missing_ok=True)

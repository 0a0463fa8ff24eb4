# SPDX-License-Identifier: Apache-2.0
"""What the lab can fail with: one exception, which always says what to do about it."""

from __future__ import annotations

from controller.errors import ControllerError


class LabError(ControllerError):
    """Raised when the lab cannot do what was asked; `hint` is the next thing to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint

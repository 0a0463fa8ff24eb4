# SPDX-License-Identifier: Apache-2.0
"""How a test and the controller's process find and frame each other's pickles."""

import struct

SOCKET = "test.sock"
"In the controller's state directory."

LENGTH = struct.Struct("!I")

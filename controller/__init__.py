# SPDX-License-Identifier: Apache-2.0
"""The controller: intent in, desired flows out, switches kept equal to them."""

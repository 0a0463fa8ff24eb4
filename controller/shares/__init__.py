# SPDX-License-Identifier: Apache-2.0
"""Several controllers on one store share out the hosts among them."""

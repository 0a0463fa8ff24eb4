# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A busy machine makes no example wrong: how long one takes is no matter of these tests.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

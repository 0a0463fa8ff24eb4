# SPDX-License-Identifier: Apache-2.0
"""Everything is in setup.cfg; this file serves tools that still ask for it."""

from setuptools import setup

setup()

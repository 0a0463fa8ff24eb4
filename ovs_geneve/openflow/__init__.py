# SPDX-License-Identifier: Apache-2.0
"""OpenFlow 1.5 with Open vSwitch's extensions: values, bytes, sessions."""

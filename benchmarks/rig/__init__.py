# SPDX-License-Identifier: Apache-2.0
"""What benchmarks stand on: real and fake hosts, controllers as processes, clients, and the report each prints."""

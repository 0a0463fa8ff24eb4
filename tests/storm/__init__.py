# SPDX-License-Identifier: Apache-2.0
"""Random operations on hosts without Open vSwitch, of users, of workloads, of passers-by, of fate; by a seed."""

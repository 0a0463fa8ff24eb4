#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the machine needs before `make` can set up the rest by itself.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends make python3 python3-venv
cd /vagrant
make setup

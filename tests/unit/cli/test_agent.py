# SPDX-License-Identifier: Apache-2.0
"""What `ovs-geneve agent` refuses before it begins."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from controller.cli.agent import agent

STORE = ["--store", "tcp:127.0.0.1:1"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([*STORE, "--controller", "127.0.0.1:6680"], "give one of --controller and --store"),
        (["--cert", __file__], "--cert goes with --store"),
        (["--key", __file__], "--key goes with --store"),
        (["--tunnel-port", "7000"], "--tunnel-port goes with --store"),
        (["--store", "ptcp:6641:127.0.0.1"], "tcp:127.0.0.1:6641 is such a place"),
        (["--store", "nowhere"], "starts with none of"),
        (["--store", "ssl:127.0.0.1:6641"], "give --ca, --cert and --key"),
        (["--store", "tcp:127.0.0.1:1,ssl:127.0.0.1:2", "--ca", __file__], "give --ca, --cert and --key"),
        ([*STORE, "--cert", __file__], "give --ca, --cert and --key"),
        ([*STORE, "--ca", __file__, "--cert", __file__, "--key", __file__], "want certificates in PEM"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(tmp_path, monkeypatch, options, reason):
    monkeypatch.setenv("OVS_GENEVE_SERVER", "192.0.2.1:6680")  # names no controller where a store is named
    done = CliRunner().invoke(agent, ["--host", "lx1", "--state", str(tmp_path / "state"), *options])
    assert done.exit_code in (1, 2)
    assert reason in done.output
    assert not (tmp_path / "state").exists()

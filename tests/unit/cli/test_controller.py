# SPDX-License-Identifier: Apache-2.0
"""What `ovs-geneve controller` refuses before it begins."""

import pytest
from click.testing import CliRunner

from controller.cli.controller import controller


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "hv1"], "give --store"),
        (["--store", "tcp:127.0.0.1:1", "--store-listen", "ptcp:6641"], "one of --store and --store-listen"),
        (["--store", "ptcp:6641:127.0.0.1"], "tcp:127.0.0.1:6641 is such a place"),
        (["--store-listen", "tcp:127.0.0.1:6641"], "ptcp:6641:127.0.0.1 is such a place"),
        (["--store", "ssl:127.0.0.1:6641"], "TLS is not wired"),
        (["--store", "nowhere"], "starts with none of"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(tmp_path, options, reason):
    done = CliRunner().invoke(controller, ["--state", str(tmp_path / "state"), *options])
    assert done.exit_code == 1
    assert reason in done.output
    assert not (tmp_path / "state").exists()

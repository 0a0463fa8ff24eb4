# SPDX-License-Identifier: Apache-2.0
"""python -m tests.vm.standin [RELEASE]: build standin_nic.ko for a Debian kernel, once; print where it is.

Without a release it is for Debian's current kernel, which guests run.
"""

from __future__ import annotations

import argparse
import sys

from tests.vm.debian import Unavailable
from tests.vm.standin.build import build, current_release


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.standin", description=__doc__)
    parser.add_argument(
        "release", nargs="?", help="as uname -r prints it; default: that of linux-headers-amd64"
    )
    asked = parser.parse_args(words)
    try:
        print(build(asked.release or current_release()))
    except Unavailable as error:
        print(f"standin: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

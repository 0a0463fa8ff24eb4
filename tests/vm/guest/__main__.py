# SPDX-License-Identifier: Apache-2.0
"""python -m tests.vm.guest [--rw DIR]… [--env NAME=VALUE]… [--timeout S] -- command: run it in a guest of its own.

Its output and exit code are the command's; 124 when it took too long, 125 when the guest could not run it.
"""

import argparse
import sys
from pathlib import Path

from tests.vm.debian import Unavailable, say
from tests.vm.guest.packages import prepare
from tests.vm.guest.run import Task, run


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.guest", description=__doc__)
    parser.add_argument("--rw", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--processors", type=int, default=2)
    parser.add_argument("--prepare", action="store_true", help="only install and fetch; print the release")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    line = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    if not line and not asked.prepare:
        parser.error("no command")
    try:
        if asked.prepare:
            print(prepare().release)
            return 0
        task = Task(
            line=line,
            folder=Path.cwd(),
            writable=asked.rw,
            environment=dict(each.split("=", 1) for each in asked.env),
            timeout=asked.timeout,
            processors=asked.processors,
            memory=asked.memory,
        )
        return run(task)
    except Unavailable as error:
        say(str(error))
        return 125


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""python -m tests.vm [FILE…]: the tests of the kernel's datapath, each file in a guest of its own.

On a machine whose own kernel has the modules they run right here. At the end stands what was proved.
"""

from __future__ import annotations

import argparse
import compileall
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

from tests.vm.facts import Book, Fact
from tests.vm.guest.packages import GuestError, prepare
from tests.vm.guest.run import Task, run
from tests.vm.modules import lacking

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]

_PATIENCE = 6
"By what tests wait longer in a guest (tests/patience.py)."

_GIVEN = ("STORM_SEED", "STORM_OPERATIONS")
"Variables of the tests themselves."

_NOTHING_RAN = 5
"pytest's exit code when no test was chosen."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one file of tests went."""

    name: str
    code: int
    "Of pytest; 0 is good."
    seconds: float
    facts: list[Fact]


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: all test_*.py there")
    parser.add_argument("-k", metavar="EXPRESSION", help="choose tests, as pytest does")
    parser.add_argument("-s", action="store_true", dest="say", help="show what tests print meanwhile")
    parser.add_argument("--guest", action="store_true", help="boot a guest even where none is needed")
    parser.add_argument("--timeout", type=float, default=1200.0, metavar="SECONDS", help="of one file")
    asked = parser.parse_args(words)
    files = asked.files or sorted(_HERE.glob("test_*.py"))
    problem = "" if os.geteuid() == 0 and not asked.guest and not lacking() else lacking() or "asked for"
    print(f"In guests: {problem}" if problem else "On this machine's own kernel", flush=True)
    try:
        if problem:
            prepare()
            _compile()
        outcomes = [
            _run(asked, file, number, len(files), bool(problem)) for number, file in enumerate(files, 1)
        ]
    except GuestError as error:
        print(f"No guest: {error}", file=sys.stderr)
        return 1
    print(report(outcomes))
    return int(any(outcome.code for outcome in outcomes))


def _run(asked: argparse.Namespace, file: Path, number: int, total: int, in_guest: bool) -> Outcome:
    print(f"\n[{number}/{total}] {file.name}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vm-facts-") as folder:
        facts = Path(folder) / "facts"
        line = [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider"]
        # A plugin that comes with what REST is made of, and takes longer to start than everything else.
        line += ["-p", "no:faker", str(file.resolve())]
        line += ["-o", f"timeout={asked.timeout:g}", *(["-k", asked.k] if asked.k else [])]
        line += ["-s"] if asked.say else []
        environment = {"VM_FACTS": str(facts), "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}
        environment |= {name: os.environ[name] for name in _GIVEN if name in os.environ}
        if in_guest:
            task = Task(
                line=line,
                folder=_ROOT,
                writable=[Path(folder)],
                environment={**environment, "PATIENCE": str(_PATIENCE), "PYTHONDONTWRITEBYTECODE": "1"},
                timeout=asked.timeout,
            )
            code = run(task)
        else:
            code = subprocess.run(line, cwd=_ROOT, env={**os.environ, **environment}, check=False).returncode
        code = 0 if asked.k and code == _NOTHING_RAN else code
        seconds = time.monotonic() - began
        return Outcome(name=file.name, code=code, seconds=seconds, facts=Book(facts).facts())


def _compile() -> None:
    """Leave bytecode beside all modules: guests keep nothing that they write, and compile as slowly as they run."""
    for package in ("controller", "ovs_geneve", "tests"):
        compileall.compile_dir(_ROOT / package, quiet=2)


def report(outcomes: list[Outcome]) -> str:
    """Return what was proved, file by file, each fact with its evidence, and what failed."""
    lines = ["", "What was proved on the kernel's datapath", "=" * 40]
    for outcome in outcomes:
        verdict = "passed" if outcome.code == 0 else f"FAILED (exit {outcome.code})"
        lines += ["", f"{outcome.name}: {verdict}, {outcome.seconds:.0f} s"]
        for fact in outcome.facts:
            lines.append(f"  * {fact.statement}")
            lines.append(f"      {textwrap.shorten(fact.evidence, 500, placeholder=' …')}")
    failed = [outcome.name for outcome in outcomes if outcome.code]
    count = sum(len(outcome.facts) for outcome in outcomes)
    lines += [
        "",
        f"{count} facts; failed: {', '.join(failed)}" if failed else f"{count} facts, nothing failed",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""python -m tests.vm [FILE…]: the tests of the kernel's datapath, each file in a guest of its own.

On a machine whose own kernel has the modules they run right here. At the end stands what was proved.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.vm.debian import Unavailable
from tests.vm.facts import Book, Fact
from tests.vm.guest.run import Task, make_ready, run
from tests.vm.modules import lacking

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]

_PATIENCE = 6
"By what tests wait longer in a guest (tests/patience.py)."

_AT_ONCE = 2
"Guests: each has two processors, which rest a good deal of the time."

_LONGEST = ("test_storm.py", "test_mixed.py", "test_policies.py", "test_linux_hosts.py")
"Begun first, so that none of them is left alone at the end."

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
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="guests at a time; default: 2, on two processors or more"
    )
    asked = parser.parse_args(words)
    files = asked.files or sorted(
        _HERE.glob("test_*.py"), key=lambda file: (file.name not in _LONGEST, file.name)
    )
    problem = "" if os.geteuid() == 0 and not asked.guest and not lacking() else lacking() or "asked for"
    print(f"In guests: {problem}" if problem else "On this machine's own kernel", flush=True)
    try:
        outcomes = _run_all(asked, files, in_guests=bool(problem))
    except Unavailable as error:
        print(f"No guest: {error}", file=sys.stderr)
        return 1
    print(report(outcomes))
    return int(any(outcome.code for outcome in outcomes))


def _run_all(asked: argparse.Namespace, files: Sequence[Path], *, in_guests: bool) -> list[Outcome]:
    """Run the files; where several are at a time, what each prints is shown once it has ended."""
    if not in_guests:
        return [_run(asked, file, None) for file in files]
    make_ready()
    _compile(files)
    jobs = min(asked.jobs or min(_AT_ONCE, os.cpu_count() or 1), len(files))
    shown, ended = threading.Lock(), 0

    def run_one(file: Path) -> Outcome:
        nonlocal ended
        print(f"{file.name}: begins", flush=True)
        with ExitStack() as stack:
            said = None if jobs == 1 else stack.enter_context(tempfile.TemporaryFile())
            outcome = _run(asked, file, said or sys.stdout.buffer)
            with shown:
                ended += 1
                if said is not None:
                    said.seek(0)
                    sys.stdout.write(said.read().decode(errors="replace"))
                verdict = "passed" if outcome.code == 0 else "FAILED"
                print(f"[{ended}/{len(files)}] {file.name}: {verdict}, {outcome.seconds:.0f} s\n", flush=True)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(run_one, files))


def _compile(files: Sequence[Path]) -> None:
    """Leave bytecode beside the sources: in a guest every process would compile them again, for most of a minute."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    compiled = [sys.executable, "-m", "compileall", "-q", "controller", "ovs_geneve", "benchmarks", "tests"]
    # What pytest makes of assertions is cached apart.
    collected = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        *map(str, files),
    ]
    for line in (compiled, collected):
        done = subprocess.run(line, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(
                f"{' '.join(line)}: exit {done.returncode}\n{done.stdout[-2000:]}",
                file=sys.stderr,
                flush=True,
            )


def _run(asked: argparse.Namespace, file: Path, guest_output: IO[bytes] | None) -> Outcome:
    """Run a file in a guest that prints there, or without output on this machine."""
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
        if guest_output is not None:
            task = Task(
                line=line,
                folder=_ROOT,
                writable=[Path(folder)],
                environment={**environment, "PATIENCE": str(_PATIENCE), "PYTHONDONTWRITEBYTECODE": "1"},
                timeout=asked.timeout,
            )
            code = run(task, guest_output, guest_output)
        else:
            code = subprocess.run(line, cwd=_ROOT, env={**os.environ, **environment}, check=False).returncode
        code = 0 if asked.k and code == _NOTHING_RAN else code
        seconds = time.monotonic() - began
        return Outcome(name=file.name, code=code, seconds=seconds, facts=Book(facts).facts())


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

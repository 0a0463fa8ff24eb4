# SPDX-License-Identifier: Apache-2.0
"""Processes that a benchmark asks things: a JSON document a line, on their standard input and output."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

PATIENCE = 300.0

Answer = Mapping[str, Any]
Handler = Callable[..., Awaitable[Answer]]


class Child:
    """A Python module that runs `answer_for_ever` in a process of its own."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._read = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """Put a question and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([question, arguments]).encode() + b"\n")
        return self.hear()

    def hear(self, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait for the next answer; raise TimeoutError, or EOFError when the process is gone."""
        output = self._process.stdout
        assert output is not None
        while b"\n" not in self._read:
            if not select([output], [], [], patience)[0]:
                raise TimeoutError(f"process {self.pid} does not answer within {patience} s")
            piece = os.read(output.fileno(), 1 << 16)
            if not piece:
                raise EOFError(f"process {self.pid} ended with status {self._process.wait()}")
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self, patience: float = 20.0) -> None:
        """Ask it to stop, and kill it when it does not."""
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def child(module: str, *arguments: str) -> Iterator[Child]:
    """Run a child for the duration of the context."""
    started = Child(module, *arguments)
    try:
        yield started
    finally:
        started.end()


async def answer_for_ever(handlers: Mapping[str, Handler]) -> None:
    """Answer what the parent asks, one question at a time, until it hangs up."""
    loop = asyncio.get_running_loop()
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    async for line in questions:
        question, arguments = json.loads(line)
        tell(await handlers[question](**arguments))


def tell(answer: Answer) -> None:
    """Give the parent an answer, or tell it something it waits for."""
    print(json.dumps(answer), flush=True)

# SPDX-License-Identifier: Apache-2.0
"""The tables of benchmarks/README.md, from what `make bench` left in benchmarks/results.

python -m benchmarks.rig.table
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.__main__ import NAMES, RESULTS


def figures() -> Iterator[str]:
    """Yield a row for each figure."""
    yield "| benchmark | figure | value | goal | met |"
    yield "|---|---|---:|---:|---|"
    for document in _documents():
        for one in document["figures"]:
            met = "yes" if one["met"] else "**no**"
            yield f"| `{document['benchmark']}` | {one['figure']} | {one['value']:g} | {one['goal']} | {met} |"


def series() -> Iterator[str]:
    """Yield a row for each series."""
    yield "| benchmark | series | unit | n | min | median | max |"
    yield "|---|---|---|---:|---:|---:|---:|"
    for document in _documents():
        for name, one in document["series"].items():
            numbers = f"{one['repetitions']} | {one['min']:g} | {one['median']:g} | {one['max']:g}"
            yield f"| `{document['benchmark']}` | {name} | {one['unit']} | {numbers} |"


def _documents() -> Iterator[dict[str, Any]]:
    for name in NAMES:
        path = RESULTS / f"{name}.json"
        if path.exists():
            yield json.loads(path.read_text())


if __name__ == "__main__":
    print("\n".join([*figures(), "", *series()]))

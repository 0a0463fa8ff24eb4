# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve decode: packets of a capture file or an interface, with options by their declared names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import IO, BinaryIO

import click

from controller.cli.client import DEFAULT_SERVER
from controller.cli.declared import declared_layouts
from controller.cli.live import live_frames
from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.capture import CapturedFrame, read_capture
from ovs_geneve.geneve.describe import (
    Layouts,
    describe,
    index_layouts,
    render_fragment,
    render_line,
    render_tree,
)
from ovs_geneve.geneve.outer import LaterFragment, find_geneve
from ovs_geneve.geneve.packet import decode as decode_packet


@click.command("decode")
@click.argument("file", type=click.File("rb"), required=False)
@click.option(
    "--live", metavar="INTERFACE", help="Read packets of an interface instead of a file; needs root."
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=6081, show_default=True, help="UDP port of GENEVE."
)
@click.option("--tree", is_flag=True, help="One line a field instead of one a packet.")
@click.option("-n", "--count", type=click.IntRange(1), help="Stop after this many GENEVE packets.")
@click.option(
    "--schemas",
    type=click.File(),
    help="YAML with the option schemas, instead of the controller's.",
)
@click.option(
    "--server", envvar="OVS_GENEVE_SERVER", help=f"The controller that knows the schemas [{DEFAULT_SERVER}]."
)
def decode(
    file: BinaryIO | None,
    live: str | None,
    port: int,
    tree: bool,
    count: int | None,
    schemas: IO[str] | None,
    server: str | None,
) -> None:
    """Print the GENEVE packets of FILE (pcap or pcapng; - for stdin) by name."""
    if (file is None) == (live is None):
        raise click.UsageError("want a FILE or --live INTERFACE")
    layouts = index_layouts(declared_layouts(schemas, server))
    try:
        frames = read_capture(file) if file is not None else live_frames(live or "")
        for number, text in enumerate(_texts(frames, port, layouts, tree=tree), 1):
            click.echo(text)
            if number == count:
                return
    except DecodeError as error:
        raise click.ClickException(str(error)) from error


def _texts(frames: Iterable[CapturedFrame], port: int, layouts: Layouts, *, tree: bool) -> Iterator[str]:
    for frame in frames:
        try:
            outer = find_geneve(frame.linktype, frame.data, ports={port})
            if outer is None:
                continue
            if isinstance(outer, LaterFragment):
                yield render_fragment(outer)
                continue
            described = describe(decode_packet(outer.geneve), layouts, outer)
        except DecodeError as error:
            yield f"malformed: {error}"
            continue
        yield render_tree(described) if tree else render_line(described)
    sys.stdout.flush()

# SPDX-License-Identifier: Apache-2.0
"""YAML files of objects: documents with kind: and name:, the rest as REST has it.

YAML 1.1 reads 10:20:30:40:50:59 as a number in base 60 and 2026-01-01 as a date; here they are text, as in YAML 1.2.
A key that is there twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import IO, Any

import click
import yaml

_INT = "tag:yaml.org,2002:int"
_LEFT_AS_TEXT = (_INT, "tag:yaml.org,2002:timestamp")
_PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+)\Z")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader with the number and date forms of YAML 1.2."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in resolvers if tag not in _LEFT_AS_TEXT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Make a mapping; refuse a key that is there twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice!r} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(_INT, _PLAIN_INT, list("-+0123456789"))


def read_documents(source: IO[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield kind, name and REST document of each object in a file; ClickException says what is wrong where."""
    try:
        documents = (one for one in yaml.load_all(source, _Loader) if one is not None)
        for number, document in enumerate(documents, 1):
            if not isinstance(document, Mapping) or not {"kind", "name"} <= document.keys():
                raise click.ClickException(f"{source.name}, document {number}: wants kind: and name:")
            rest = {key: value for key, value in document.items() if key not in ("kind", "name")}
            yield str(document["kind"]), str(document["name"]), rest
    except yaml.YAMLError as error:
        raise click.ClickException(f"{source.name}: {error}") from error

# SPDX-License-Identifier: Apache-2.0
"""Imports go one way, and pure modules touch neither time nor the world (style.md, "The tree")."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LAYERS = (
    ("controller.__main__", "controller.process", "controller.cli", "controller.joining", "controller.lab"),
    ("controller.__main__", "controller.process", "controller.cli", "controller.agent", "controller.lab"),
    ("controller.api", "controller.app", "controller.guard", "controller.southbound", "controller.shares"),
    ("controller.rollout",),
    ("controller.reconciler", "controller.prober", "controller.kernels"),
    ("controller.proof",),
    ("controller.compiler", "controller.linux"),
    ("controller.events", "controller.intent", "controller.hoststate"),
    ("ovs_geneve",),
)
"From the top down: a module imports from its own layer and from those below."

SEEN_FROM_BELOW = (
    "controller.southbound.ports",
    "controller.settings",
    "controller.errors",
    "controller.tls",
)
"The seam, and what has no layer."

IMPURE = frozenset({"os_ken", "ovs", "socket", "threading", "time", "random", "logging", "asyncio"})

PURE = (
    "controller/events.py",
    "controller/guard/judge.py",
    "controller/guard/shield.py",
    "controller/guard/watch.py",
    "controller/guard/words.py",
    "controller/hoststate.py",
    "controller/compiler",
    "controller/linux",
    "controller/proof",
    *(f"controller/joining/{name}.py" for name in ("facts", "join", "layout", "leave", "steps")),
    "controller/intent/model.py",
    "controller/intent/intent.py",
    "controller/intent/index.py",
    "controller/intent/commands.py",
    "controller/intent/follower.py",
    "controller/intent/allocate.py",
    "controller/intent/rows.py",
    *(
        f"controller/intent/{name}.py"
        for name in (
            "companions",
            "conditions",
            "identity",
            "kept_rows",
            "mtu",
            "offload_use",
            "overlaps",
            "policy_size",
            "port_masks",
            "preview",
            "row",
            "rule_rows",
            "rules",
            "shadows",
        )
    ),
    "controller/rollout/decide.py",
    "controller/rollout/telling.py",
    "controller/intent/checks",
    *(
        f"controller/prober/{name}.py"
        for name in (
            "bridges",
            "inquiry",
            "model",
            "pace",
            "packet",
            "patterns",
            "plan",
            "ports",
            "run",
            "verdicts",
        )
    ),
    "controller/reconciler/bindings.py",
    "controller/reconciler/elsewhere.py",
    "controller/reconciler/linux_status.py",
    "controller/reconciler/foreign.py",
    "controller/reconciler/plan.py",
    "controller/reconciler/programmer.py",
    "controller/reconciler/status.py",
    "controller/rollout/canary.py",
    "controller/rollout/decide.py",
    "controller/rollout/hosts.py",
    "controller/rollout/telling.py",
    "controller/shares/decide.py",
    "controller/shares/roster.py",
    "controller/shares/table.py",
    "controller/southbound/facts.py",
    "controller/southbound/ports.py",
    "ovs_geneve/errors.py",
    *(
        f"ovs_geneve/kernel/{name}.py"
        for name in (
            "canonical",
            "codec_actions",
            "codec_filters",
            "codec_flower",
            "codec_links",
            "codec_neighbours",
            "codec_options",
            "errors",
            "modules",
            "objects",
            "observation",
            "plan",
            "plan_filters",
            "render",
            "render_files",
            "render_filters",
            "steps",
            "wire",
        )
    ),
    "ovs_geneve/megaflow.py",
    *(
        f"ovs_geneve/offload/{name}.py"
        for name in ("ethtool_messages", "families", "nic", "profile", "verdict")
    ),
    "ovs_geneve/values.py",
    "ovs_geneve/vport.py",
    *(
        f"ovs_geneve/openflow/{name}.py"
        for name in [
            "action_codec",
            "actions",
            "bundle",
            "errors_table",
            "events",
            "fields",
            "flow",
            "messages",
            "observation",
            "part",
            "pieces",
            "session",
            "stats",
            "template",
            "text",
            "tlv_table",
        ]
    ),
    *(
        f"ovs_geneve/ovsdb/{name}.py"
        for name in ("messages", "offload", "operations", "provision", "replica", "rows")
    ),
)

KNOWN = {("controller/compiler/compile.py", "logging")}
"An object that fits no message is only logged; it should be a problem that users can read."


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, those for type checking included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer_of(module: str) -> int | None:
    found = [n for n, packages in enumerate(LAYERS) if any(within(module, p) for p in packages)]
    return found[0] if found else None


def test_imports_go_down() -> None:
    wrong = [
        f"{name_of(path)} imports {imported}"
        for path in modules("controller", "ovs_geneve")
        for imported in imports(path)
        if not any(within(imported, seen) for seen in SEEN_FROM_BELOW)
        and (layer := layer_of(name_of(path))) is not None
        and (below := layer_of(imported)) is not None
        and below < layer
    ]
    assert wrong == []


def test_the_library_knows_no_controller() -> None:
    wrong = [path for path in modules("ovs_geneve") if any(within(i, "controller") for i in imports(path))]
    assert wrong == []


def test_the_reconciler_sees_of_southbound_the_ports_alone() -> None:
    seen = {
        imported
        for path in modules("controller/reconciler")
        for imported in imports(path)
        if within(imported, "controller.southbound")
    }
    assert seen
    assert {i for i in seen if not within(i, "controller.southbound.ports")} == set()


def test_os_ken_is_imported_in_the_app_and_the_transport_only() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in modules("controller", "ovs_geneve")
        if any(within(imported, "os_ken") for imported in imports(path))
    }
    allowed = {
        "controller/app.py",
        "ovs_geneve/openflow/osken_ext.py",
        "ovs_geneve/openflow/osken_transport.py",
    }
    assert users <= allowed


@pytest.mark.parametrize("place", PURE)
def test_pure_modules_import_nothing_impure(place: str) -> None:
    path = ROOT / place
    files = modules(place) if path.is_dir() else [path]
    assert files
    found = {
        (file.relative_to(ROOT).as_posix(), imported)
        for file in files
        for imported in (name.partition(".")[0] for name in imports(file))
        if imported in IMPURE
    }
    assert found - KNOWN == set()

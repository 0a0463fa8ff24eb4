# SPDX-License-Identifier: Apache-2.0
"""`make demo`: three hosts, two tenants, an option of the operator's own, in a minute.

Every line that announces something checks it; the demo fails if anything differs from what it says.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from controller.api.documents import to_layout
from controller.compiler.cookies import Feature, parse
from controller.lab.beside import ControllerBeside
from controller.lab.lab import Lab
from controller.lab.settings import LabSettings, Underlay
from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.geneve.describe import describe, index_layouts, render_tree
from ovs_geneve.geneve.fields import OptionLayout
from ovs_geneve.geneve.outer import OuterPacket, find_geneve
from ovs_geneve.geneve.packet import decode

TOPOLOGY = Path(__file__).with_name("topology.yaml")

PLUGGED = {"web1": "hv1", "db1": "hv2", "guest1": "hv3", "web2": "hv1", "db2": "hv2"}
"Which host of the lab each port of the topology is plugged into."

POLICY = {
    "network": "blue",
    "priority": 100,
    "direction": "ingress",
    "to": {"port": "db1"},
    "match": {"option": {"context.tier": "2/0xff"}},
    "action": "allow",
}


def documents() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (collection, name, document) of the sample topology, in an order in which they can be PUT."""
    for document in yaml.safe_load_all(TOPOLOGY.read_text()):
        collection = {"option-schema": "option-schemas"}.get(document["kind"], f"{document['kind']}s")
        yield collection, document["name"], {k: v for k, v in document.items() if k not in ("kind", "name")}


def declare(lab: Lab, controller: ControllerBeside) -> None:
    """Declare the lab's hosts and the sample topology."""
    for host in lab.hosts:
        endpoint = {"address": str(host.endpoint)}
        document = {"kind": "ovs", "ovsdb": host.ovsdb, "endpoints": [endpoint], "underlay_mtu": host.mtu}
        controller.put("hosts", host.name, document)
    for collection, name, document in documents():
        controller.put(collection, name, document)


def plug(lab: Lab) -> None:
    """Plug the sample topology's ports into the lab."""
    prefix = {4: 24, 6: 64}
    for collection, name, document in documents():
        if collection == "ports":
            addresses = [f"{a}/{prefix[6 if ':' in a else 4]}" for a in document["addresses"]]
            lab.plug(PLUGGED[name], name, document["mac"], addresses)


class Story:
    """Tells, checks and counts what differed."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.failures = 0
        self._began = time.monotonic()

    def chapter(self, title: str) -> None:
        """Begin a part."""
        self.console.rule(f"[bold]{title}[/]  [dim]{time.monotonic() - self._began:.0f} s[/]", align="left")

    def check(self, claim: str, holds: bool) -> None:
        """Say whether a claim holds."""
        mark = "[green]✓[/]" if holds else "[red]✗ NOT SO:[/]"
        self.console.print(f" {mark} {claim}")
        self.failures += not holds

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """Show a bar while something long goes on."""
        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn()
        with Progress(*columns, console=self.console, transient=True) as bar:
            self._task = bar.add_task(title, total=None)
            yield bar

    def step(self, bar: Progress, text: str, done: int, total: int) -> None:
        """Move the bar."""
        bar.update(self._task, description=text, completed=done, total=total)


def run(underlay: Underlay = Underlay.IPV4, console: Console | None = None) -> int:
    """Tell the story; return how many claims did not hold."""
    story = Story(console or Console())
    settings = LabSettings(name="ovsgdemo", hosts=3, underlay=underlay)
    with tempfile.TemporaryDirectory(prefix="ovs-geneve-demo-") as directory:
        story.chapter("Three hosts, each with its own Open vSwitch")
        with story.progress("lab") as bar:
            lab = Lab.up(settings, lambda text, done, total: story.step(bar, text, done, total))
        with lab, ControllerBeside(Path(directory) / "controller") as controller:
            _tell(story, lab, controller)
    verdict = "as announced" if not story.failures else f"{story.failures} claims did not hold"
    story.chapter(f"Done: {verdict}")
    return story.failures


def _tell(story: Story, lab: Lab, controller: ControllerBeside) -> None:
    _hosts(story, lab)
    story.chapter("Declared over REST: an option, two tenants, five ports")
    with story.progress("declare, plug, program"):
        declare(lab, controller)
        plug(lab)
        programmed = _wait_programmed(controller)
    _topology(story, controller)
    story.check("every bridge holds what the controller says", programmed)
    _reach(story, lab)
    _policy(story, lab, controller)
    _wire(story, lab)
    _counters(story, lab)


def _hosts(story: Story, lab: Lab) -> None:
    table = Table("host", "namespace", "tunnel endpoint", "OVSDB")
    for host in lab.hosts:
        table.add_row(host.name, host.namespace, str(host.endpoint), host.ovsdb)
    story.console.print(table)


def _topology(story: Story, controller: ControllerBeside) -> None:
    table = Table("port", "network", "host", "addresses", "stamped", "programmed")
    for item in controller.get("ports")["items"]:
        spec, status = item["spec"], item["status"]
        conditions = {c["type"]: c["status"] for c in status["conditions"]}
        stamped = ", ".join(
            f"{schema}.{field}={value}"
            for schema, fields in spec.get("options", {}).items()
            for field, value in fields.items()
        )
        addresses = ", ".join(spec["addresses"])
        row = (item["name"], spec["network"], status["host"] or "-", addresses, stamped or "-")
        table.add_row(*row, conditions["Programmed"])
    story.console.print(table)


def _reach(story: Story, lab: Lab) -> None:
    story.chapter("Traffic")
    story.check("blue: web1 on hv1 reaches db1 on hv2", _pings(lab, "web1", "10.0.0.2"))
    story.check("blue: over IPv6 too", _pings(lab, "web1", "2001:db8::2"))
    story.check(
        "red: web2 reaches db2, with the same addresses and MACs as blue", _pings(lab, "web2", "10.0.0.2")
    )
    story.check("10.0.0.3 is blue's: red's web2 does not reach it", not _pings(lab, "web2", "10.0.0.3"))


def _policy(story: Story, lab: Lab, controller: ControllerBeside) -> None:
    story.chapter("Policy by option value")
    story.check("before: guest1 (tier 1) reaches db1", _pings(lab, "guest1", "10.0.0.2"))
    story.console.print("   PUT /v1/option-policies/tier2-only", POLICY)
    controller.put("option-policies", "tier2-only", POLICY, wait=True)
    story.check("after: guest1 (tier 1) is refused at db1's host", not _pings(lab, "guest1", "10.0.0.2"))
    story.check("web1 (tier 2) still reaches db1", _pings(lab, "web1", "10.0.0.2"))


def _wire(story: Story, lab: Lab) -> None:
    story.chapter("On the wire, by name; and the same bytes read by tshark")
    with lab.capture("hv1", expression="udp port 6081") as capture:
        _pings(lab, "web1", "10.0.0.2")
    layouts = index_layouts([_layout()])
    with capture.path.open("rb") as stream:
        for frame in read_capture(stream):
            outer = find_geneve(frame.linktype, frame.data)
            if isinstance(outer, OuterPacket):
                packet = decode(outer.geneve)
                break
        else:
            raise DecodeError("capture", "no GENEVE packet in it")
    story.console.print(Panel(render_tree(describe(packet, layouts, outer)), title="ovs-geneve decode"))
    theirs = _tshark(capture.path)
    story.console.print(Panel(" ".join(theirs), title="tshark -e vni -e class -e type -e data"))
    option = packet.options[0]
    values = layouts[option.key].decode_values(option.data)
    story.check(f"web1's packets carry tier=2 zone=7 (read: {values})", values == {"tier": 2, "zone": 7})
    ours = (packet.header.vni, int(option.option_class), int(option.option_type), option.data.hex())
    read = (int(theirs[0], 0), int(theirs[1], 0), int(theirs[2], 0), theirs[3].replace(":", ""))
    story.check("tshark reads the same VNI, class, type and data", ours == read)


def _layout() -> OptionLayout:
    return next(
        to_layout(document, name) for collection, name, document in documents() if "schema" in collection
    )


def _tshark(capture: Path) -> list[str]:
    fields = ("geneve.vni", "geneve.option.class", "geneve.option.type", "geneve.option.unknown.data")
    command = ["tshark", "-r", str(capture), "-c", "1", "-T", "fields", "-Y", "geneve"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.split()


def _counters(story: Story, lab: Lab) -> None:
    story.chapter("Counters: what db1's host let in and what it refused")
    table = Table("feature", "flow", "packets")
    counted = {}
    for flow in lab.host("hv2").ofctl("-O", "OpenFlow15", "dump-flows", "br-int", "table=70").splitlines():
        if "cookie=" not in flow:
            continue
        fields = dict(part.split("=", 1) for part in flow.replace(",", " ").split() if "=" in part)
        feature = Feature(parse(int(fields["cookie"], 16)).feature)
        if feature in (Feature.POLICY, Feature.POLICY_DEFAULT):
            table.add_row(feature.name.lower(), flow.split("priority=")[1], fields["n_packets"])
            counted[feature] = int(fields["n_packets"])
    story.console.print(table)
    story.check("the policy let packets in", counted.get(Feature.POLICY, 0) > 0)
    story.check("and what no policy allows was refused", counted.get(Feature.POLICY_DEFAULT, 0) > 0)


def _pings(lab: Lab, source: str, destination: str) -> bool:
    command = ["ping", "-c", "3", "-i", "0.2", "-W", "1", "-q", destination]
    return lab.exec(source, command, timeout=15).returncode == 0


def _wait_programmed(controller: ControllerBeside, timeout: float = 15.0) -> bool:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        objects = [*controller.get("hosts")["items"], *controller.get("ports")["items"]]
        if all(_all_true(item["status"]["conditions"]) for item in objects):
            return True
        time.sleep(0.1)
    return False


def _all_true(conditions: Sequence[dict[str, str]]) -> bool:
    return all(condition["status"] == "True" for condition in conditions)

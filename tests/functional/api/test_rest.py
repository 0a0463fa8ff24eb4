# SPDX-License-Identifier: Apache-2.0
"""The controller as it is started, between a REST client and a real vswitchd without packets."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from controller.intent.service import MAX_BATCH
from tests.functional.openflow.conftest import Vswitchd

SCHEMA = {
    "class": "0xff00",
    "type": 1,
    "length": 4,
    "fields": [{"name": "tier", "type": "uint", "offset": 0, "bits": 8}],
}
PORT = {
    "network": "blue",
    "mac": "02:00:00:00:00:01",
    "addresses": ["10.0.0.1"],
    "options": {"context": {"tier": 2}},
}


class Controller:
    """`ovs-geneve controller` on a state directory, and a client of it."""

    def __init__(self, state):
        self.state = state
        self.socket = state.parent / "rest.sock"
        self.process = None
        self.http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://controller", timeout=30
        )

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.process = self.spawn()
        until(lambda: self.socket.exists() or self.process.poll() is not None)
        until(self._answers)

    def spawn(self, rest=None):
        command = [sys.executable, "-m", "controller", "controller", "--state", str(self.state)]
        command += ["--rest", f"unix:{rest or self.socket}"]
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

    def stop(self, signal_number=signal.SIGTERM):
        self.process.send_signal(signal_number)
        _, errors = self.process.communicate(timeout=15)
        return self.process.returncode, errors

    def put(self, path, document, **query):
        answer = self.http.put(f"/v1/{path}", json=document, params=query)
        assert answer.is_success, answer.text
        return answer

    def conditions(self, path):
        view = self.http.get(f"/v1/{path}").json()
        return {one["type"]: one for one in view["status"]["conditions"]}

    def reasons(self, path):
        return {one["reason"] for one in self.conditions(path).values()}

    def clear(self):
        for collection in ("option-policies", "ports", "networks", "option-schemas", "hosts"):
            for one in self.http.get(f"/v1/{collection}?limit=1000").json()["items"]:
                self.http.delete(f"/v1/{collection}/{one['name']}").raise_for_status()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.http.close()

    def _answers(self):
        if self.process.poll() is not None:
            pytest.fail(self.process.communicate(timeout=5)[1])
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


def until(true, seconds=30):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail("it did not come true in time")
        time.sleep(0.02)


@pytest.fixture(scope="module")
def ovs():
    """A host; every test declares it under its own bridge."""
    folder = Path(tempfile.mkdtemp(prefix="rest-ovs-"))
    running = Vswitchd.start(folder)
    running.vsctl("set", "open", ".", f"external_ids:rundir={folder}", "external_ids:system-id=hv1")
    running.vsctl("set", "open", ".", "ovs_version=3.1.0")
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def started():
    folder = Path(tempfile.mkdtemp(prefix="rest-"))
    running = Controller(folder / "state")
    try:
        running.start()
        yield running
    finally:
        running.close()
    shutil.rmtree(folder)


@pytest.fixture
def controller(started):
    """One controller for all tests, for it takes a second to start; each leaves it empty."""
    if started.process.poll() is not None:
        started.start()
        started.clear()
    yield started
    if started.process.poll() is None:
        started.clear()


def host(ovs, bridge):
    return {
        "ovsdb": f"unix:{ovs.folder}/db.sock",
        "endpoints": [{"address": "127.0.0.1"}],
        "bridge": bridge,
        "datapath": "system",
    }


def test_declared_plugged_programmed(ovs, controller):
    controller.put("hosts/hv1", host(ovs, "br-a"))
    controller.put("option-schemas/context", SCHEMA)
    controller.put("networks/blue", {"vni": 100, "options": ["context"]})
    controller.put("ports/web1", PORT)
    until(lambda: controller.conditions("hosts/hv1")["Provisioned"]["status"] == "True")
    plug = ("set", "interface", "web1", "type=dummy", "external_ids:iface-id=web1")
    ovs.vsctl("add-port", "br-a", "web1", "--", *plug)
    until(lambda: controller.http.get("/v1/ports/web1").json()["status"]["host"] == "hv1")
    answer = controller.put("ports/web1", PORT | {"options": {"context": {"tier": 5}}}, wait="programmed")
    assert answer.status_code == 200
    flows = ovs.ofctl("dump-flows", "br-a")
    assert "tun_metadata0" in flows
    assert "10.0.0.1" in flows
    assert "02:00:00:00:00:01" in flows
    assert "0xff00" in ovs.ofctl("dump-tlv-map", "br-a")

    assert controller.http.delete("/v1/ports/web1", params={"wait": "programmed"}).status_code == 204
    assert "10.0.0.1" not in ovs.ofctl("dump-flows", "br-a")
    ovs.vsctl("del-port", "web1")


def test_two_tenants_of_one_address_are_proved_apart(ovs, controller):
    controller.put("hosts/hv1", host(ovs, "br-p"))
    for name in ("blue", "red"):
        controller.put(f"networks/{name}", {})
        port = {"network": name, "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.1", "2001:db8::1"]}
        controller.put(f"ports/{name}1", port)
    until(lambda: controller.conditions("hosts/hv1")["Provisioned"]["status"] == "True")
    for name in ("blue1", "red1"):
        plug = ("set", "interface", name, "type=dummy", f"external_ids:iface-id={name}")
        ovs.vsctl("add-port", "br-p", name, "--", *plug)
    until(lambda: controller.http.get("/v1/reports/isolation").json()["looked_at"]["ports"] == 2)
    proved = controller.http.get("/v1/reports/isolation").json()
    assert (proved["isolated"], proved["violations"], proved["doubts"]) == (True, [], [])
    assert proved["looked_at"]["networks"] == 2
    command = [sys.executable, "-m", "controller", "prove", "--server", f"unix:{controller.socket}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "isolated. 2 ports of 2 networks on 1 hosts" in done.stdout
    for name in ("blue1", "red1"):
        ovs.vsctl("del-port", name)


def test_a_host_that_is_not_there(controller, tmp_path):
    document = {"ovsdb": f"unix:{tmp_path}/none.sock", "endpoints": [{"address": "192.0.2.1"}]}
    answer = controller.put("hosts/hv1", document, wait="programmed", timeout="300ms")
    assert answer.status_code == 202
    conditions = controller.conditions("hosts/hv1")
    assert conditions["Accepted"]["status"] == "True"
    assert (conditions["Connected"]["status"], conditions["Connected"]["reason"]) == (
        "False",
        "HostUnreachable",
    )
    assert conditions["Programmed"]["status"] == "False"


def test_an_ovs_that_is_too_old(ovs, controller):
    ovs.vsctl("set", "open", ".", "ovs_version=2.5.0")
    try:
        controller.put("hosts/hv1", host(ovs, "br-old"))
        until(lambda: "OvsTooOld" in controller.reasons("hosts/hv1"))
        assert "br-old" not in ovs.vsctl("list-br")
    finally:
        ovs.vsctl("set", "open", ".", "ovs_version=3.1.0")
    until(lambda: controller.conditions("hosts/hv1")["Provisioned"]["status"] == "True")


def test_a_bridge_of_somebody_else(ovs, controller):
    ovs.vsctl("add-br", "br-foreign", "--", "set", "bridge", "br-foreign", "datapath_type=system")
    before = ovs.vsctl("list", "bridge", "br-foreign")
    controller.put("hosts/hv1", host(ovs, "br-foreign"))
    until(lambda: "BridgeNotOwned" in controller.reasons("hosts/hv1"))
    assert controller.conditions("hosts/hv1")["Provisioned"]["status"] == "False"
    assert ovs.vsctl("list", "bridge", "br-foreign") == before
    assert ovs.vsctl("list-ports", "br-foreign") == ""


def test_what_ovs_holds_is_refused_without_a_trace(ovs, controller):
    controller.put("networks/blue", {"vni": 100})
    answer = controller.http.put("/v1/networks/red", json={"vni": 100})
    assert (answer.status_code, answer.json()["holder"]) == (409, "network/blue")
    assert [one["name"] for one in controller.http.get("/v1/networks").json()["items"]] == ["blue"]


def test_sigterm_ends_it_and_leaves_the_flows(ovs, controller):
    controller.put("hosts/hv1", host(ovs, "br-term"), wait="programmed")
    until(lambda: controller.conditions("hosts/hv1")["Programmed"]["status"] == "True")
    before = ovs.ofctl("--no-stats", "dump-flows", "br-term")
    status, errors = controller.stop()
    assert (status, "Traceback" in errors) == (0, False), errors
    assert before.count("cookie") > 3
    assert ovs.ofctl("--no-stats", "dump-flows", "br-term") == before


def test_kill_loses_nothing(controller):
    controller.put("option-schemas/context", SCHEMA)
    controller.put("networks/blue", {"vni": 100, "options": ["context"]})
    controller.put("ports/web1", PORT)
    views = [
        controller.http.get(f"/v1/{path}").json()
        for path in ("option-schemas/context", "networks/blue", "ports/web1")
    ]
    assert controller.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    controller.start()
    again = [controller.http.get(f"/v1/{view['kind']}s/{view['name']}").json() for view in views]
    assert [(one["spec"], one["revision"]) for one in again] == [
        (one["spec"], one["revision"]) for one in views
    ]


def test_many_documents_are_stored_in_few_transactions_and_outlive_a_kill(controller):
    ports = [
        {"kind": "port", "name": f"p{n}", "network": "blue", "mac": f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}"}
        for n in range(600)
    ]
    documents = [
        {"kind": "option-schema", "name": "context", **SCHEMA},
        {"kind": "network", "name": "blue", "options": ["context"]},
        *ports,
        {"kind": "port", "name": "twin", "network": "blue", "mac": ports[0]["mac"]},
        {"kind": "port", "name": "web1", **PORT, "mac": "02:00:00:00:ff:01"},
    ]
    before = transactions(controller)
    items = controller.http.post("/v1/apply", json=documents).raise_for_status().json()["items"]
    assert [item["status"] for item in items] == [201] * 602 + [409, 201]
    assert items[602]["problem"]["pointer"] == "/602/mac"
    # One for the schema, and the rest in full batches.
    assert transactions(controller) - before == 1 + -(-603 // MAX_BATCH)

    assert controller.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    controller.start()
    again = controller.http.post("/v1/apply", json=documents).raise_for_status().json()["items"]
    assert [item["outcome"] for item in again] == ["unchanged"] * 602 + ["refused", "unchanged"]
    assert [item.get("revision") for item in again] == [item.get("revision") for item in items]


def transactions(controller):
    """Count the records in the log of the intent's database (ovsdb(5), "File Format")."""
    return (controller.state / "intent.db").read_bytes().count(b"OVSDB JSON ")


def test_a_second_controller_on_the_same_state(controller):
    second = controller.spawn(rest=controller.state.parent / "second.sock")
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 1
    assert "Error: " in errors
    assert str(controller.state) in errors
    assert "Traceback" not in errors
    assert controller.http.get("/readyz").status_code == 200


def test_rest_that_cannot_listen(controller):
    taken = os.path.join(controller.state.parent, "nothing", "rest.sock")
    other = Controller(controller.state.parent / "other")
    process = other.spawn(rest=taken)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "Traceback" not in errors
    other.http.close()

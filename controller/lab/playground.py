# SPDX-License-Identifier: Apache-2.0
"""`make lab`: a lab that stays, with a controller beside it and the sample topology plugged in."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from controller.lab import cleanup, commands
from controller.lab.beside import ControllerBeside
from controller.lab.demo import declare, plug
from controller.lab.lab import Lab, Progress
from controller.lab.settings import LabSettings

REST = "127.0.0.1:6680"


def state_directory(name: str) -> Path:
    """Return where the controller beside the lab of this name keeps its state."""
    return Path("/run/ovs-geneve/controller") / name


def start(settings: LabSettings, progress: Progress | None = None) -> Lab:
    """Bring up lab, controller and sample topology; take everything down when one fails."""
    lab = Lab.up(settings, progress)
    controller = ControllerBeside(state_directory(settings.name), REST)
    try:
        controller.start()
        declare(lab, controller)
        plug(lab)
    except BaseException:
        stop(settings.name)
        cleanup.down(settings)
        raise
    return lab


def stop(name: str) -> None:
    """End the controller beside a lab; harmless when there is none."""
    directory = state_directory(name)
    commands.end(commands.controllers_of(directory), signal.SIGTERM)
    shutil.rmtree(directory, ignore_errors=True)


def what_to_try() -> str:
    """Return a few commands that show something."""
    return f"""The lab is up; its controller is at http://{REST}. To try:

  ovs-geneve status
  ovs-geneve get ports
  ovs-geneve lab exec web1 -- ping -c 3 10.0.0.2
  ovs-geneve lab exec hv1 -- ovs-ofctl -O OpenFlow15 dump-flows br-int
  curl -s http://{REST}/v1/ports/web1
  ovs-geneve lab move db1 hv3
  ovs-geneve lab down"""

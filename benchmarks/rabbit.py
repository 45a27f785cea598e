"""Debian's RabbitMQ in a pod: its server and its health check. RabbitMQ writes only to one temporary folder."""

from __future__ import annotations

import glob
import os
import subprocess
import time
from dataclasses import dataclass
from typing import Optional

from . import namespaces
from .pod import Pod

HOMES = "/usr/lib/rabbitmq/lib/rabbitmq_server-*"
MISSING = "not measured: rabbitmq-server is not installed; on Debian: apt-get install rabbitmq-server"
PATIENCE = 60.0  # seconds for the server to be ready
CHECK_PATIENCE = 10.0  # seconds for one health check, which takes half a second on an idle machine
PAUSE = 1.0  # seconds between two checks whether the server is ready


def find_home() -> Optional[str]:
    """Return the folder of an installed RabbitMQ, or None."""
    homes = sorted(home for home in glob.glob(HOMES) if os.path.exists(f"{home}/sbin/rabbitmqctl"))
    return homes[-1] if homes else None


@dataclass
class Check:
    """One health check: its exit code, its duration in seconds, and its output."""

    code: int
    seconds: float
    output: str


class Rabbit:
    """A RabbitMQ server as a container of a pod. folder: for all files that it writes."""

    def __init__(self, pod: Pod, home: str, folder: str) -> None:
        self.pod = pod
        self.home = home
        self.folder = folder
        self.output = f"{folder}/server-output"
        self.server: Optional[subprocess.Popen[bytes]] = None
        # The server's scripts do not change a variable that is set. The cookie is in HOME. The pod has its own network
        # namespace, so the usual ports are free, epmd's included.
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": folder, "RABBITMQ_HOME": home,
            "RABBITMQ_NODENAME": "rabbit@localhost", "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log", "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq", "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf"}

    def start(self, patience: float = PATIENCE) -> bool:
        """Start the server; return whether a check succeeds within `patience` seconds."""
        with open(self.output, "wb") as output:
            self.server = self.pod.enter([f"{self.home}/sbin/rabbitmq-server"], self.environment, output)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self.is_running():
            if self.check().code == 0:
                return True
            time.sleep(PAUSE)
        return False

    def read_output(self) -> str:
        """Return what the server has printed since its last start."""
        with open(self.output, encoding="utf-8", errors="replace") as file:
            return file.read()

    def is_running(self) -> bool:
        """Return whether the container's first process still runs."""
        return self.server is not None and self.server.poll() is None

    def check(self) -> Check:
        """Run `rabbitmqctl status` in the pod, as an exec probe does; kill it after CHECK_PATIENCE seconds."""
        began = time.monotonic()
        with open(f"{self.folder}/check-output", "w+b") as output:
            process = self.pod.enter([f"{self.home}/sbin/rabbitmqctl", "status"], self.environment, output)
            try:
                code = process.wait(CHECK_PATIENCE)
            except subprocess.TimeoutExpired:
                end_process(process)
                code = process.wait()
            output.seek(0)
            return Check(code, time.monotonic() - began, output.read().decode(errors="replace"))

    def stop(self) -> None:
        """Kill every process of the container with SIGKILL, as the kubelet does after the grace period."""
        if self.server:
            end_process(self.server)
            self.server.wait()


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to a process that has entered the pod and to all its descendants."""
    for pid in (process.pid, *namespaces.list_descendants(process.pid)):
        namespaces.kill_if_there(pid)

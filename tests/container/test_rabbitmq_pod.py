"""In a podman pod with RabbitMQ from Debian's packages, the pause reaps what the health check leaves."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from support.containers import TIMEOUT, Lab
from support.proc import zombies_of
from support.waiting import wait_until

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the image

IMAGE = "localhost/rabbitmq"
CHECKS = 4
# The folder of the real scripts; the script in PATH changes the user.
FOLDER = "/usr/lib/rabbitmq/bin"


@pytest.fixture(scope="module")
def rabbitmq_image(session_lab: Lab) -> str:
    """Import a Debian with rabbitmq-server and little else; return its name."""
    session_lab.import_base(IMAGE, "rabbitmq-server")
    return IMAGE


def start_pod(lab: Lab, pause: str) -> tuple[str, int]:
    """Start a pod with a server, wait until it is ready, and return the server's container and the PID of the pause."""
    pod = lab.podman("pod", "create", "--share", "pid,ipc,net", "--infra-image", pause).stdout.strip()
    container = lab.start("--pod", pod, "--hostname", "localhost", "--env", "RABBITMQ_NODENAME=rabbit@localhost", IMAGE,
                          f"{FOLDER}/rabbitmq-server")
    wait_until(lambda: check(lab, container) == 0, "the server to be ready", TIMEOUT)
    return container, lab.pid(json.loads(lab.podman("pod", "inspect", pod).stdout)["InfraContainerID"])


def check(lab: Lab, container: str) -> int:
    """Run the health check in the server's container, as an exec probe does; return its exit code."""
    return lab.podman("exec", container, f"{FOLDER}/rabbitmqctl", "status", check=False).returncode


def count_by_name(pause: int) -> Counter[str]:
    """Count the zombies below a pause by their names."""
    return Counter(Path(f"/proc/{zombie}/comm").read_text().strip() for zombie in zombies_of(pause))


def test_pauses_reap_what_the_health_check_leaves(lab: Lab, rabbitmq_image: str, each_pause: str) -> None:
    container, pause = start_pod(lab, each_pause)
    assert [check(lab, container) for _ in range(CHECKS)] == [0] * CHECKS
    wait_until(lambda: not zombies_of(pause), "the pause to have reaped all")


def test_a_pause_that_does_not_reap_keeps_zombies_of_each_check(lab: Lab, rabbitmq_image: str,
                                                                sleep_image: str) -> None:
    container, pause = start_pod(lab, sleep_image)
    before = count_by_name(pause)["inet_gethost"]
    assert [check(lab, container) for _ in range(CHECKS)] == [0] * CHECKS
    wait_until(lambda: count_by_name(pause)["inet_gethost"] >= before + CHECKS, "a zombie of each check")

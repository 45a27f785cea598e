"""The next test run removes what a killed run of the tests' podman has left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import containers
from support.containers import BASE, STALE, Lab, is_left_over, remove_left_over_labs
from support.processes import source
from support.settings import ROOT
from support.waiting import wait_until

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image
LEAVE_LAB = source("leave_lab")


@pytest.fixture
def dead() -> int:
    """Return the PID of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


@pytest.mark.parametrize("name, age, left_over", [
    ("lab-{dead}-abc_12", 2 * STALE, True),
    ("pyinit-cri-{dead}-abc", 2 * STALE, True),
    ("lab-{dead}-abc_12", STALE / 2, False),
    ("lab-{alive}-abc_12", 2 * STALE, False),
    ("lab-abc_12", 2 * STALE, False),
    ("{dead}-abc", 2 * STALE, False),
    ("lab-{dead}-abc.tar", 2 * STALE, False),
])
def test_left_over(tmp_path: Path, dead: int, name: str, age: float, left_over: bool) -> None:
    path = tmp_path / name.format(dead=dead, alive=os.getpid())
    path.mkdir()
    assert is_left_over(path, time.time() + age) is left_over


def test_nothing_that_is_not_there_is_left_over(tmp_path: Path, dead: int) -> None:
    assert not is_left_over(tmp_path / f"lab-{dead}-abc", time.time())


def test_container_in_a_user_namespace_leaves_no_mount(lab: Lab) -> None:
    """Its monitor unmounts the container's /dev/shm in another mount namespace; `podman rm` would find it busy."""
    lab.exit_code(lab.start("--uidmap", "0:100000:65536", BASE, "true"))
    wait_until(lambda: not lab.processes(), "the container's monitor to end")
    assert not [mount for mount in lab.mounts() if mount.endswith("/shm")]


def test_next_run_removes_a_lab_that_was_killed(session_lab: Lab, lean_pauses: dict[str, str], tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.uname().machine
    if machine not in lean_pauses:
        pytest.skip(f"no lean pause for {machine}, which needs no other file to run in a container")
    done = subprocess.run([sys.executable, "-c", LEAVE_LAB, str(ROOT / "tests"), lean_pauses[machine]],
                          env={**os.environ, "PYINIT_TEST_CACHE": str(tmp_path)}, stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    left = Lab(Path(done.stdout.strip()))
    try:
        assert left.processes()
        monkeypatch.setattr(containers, "CACHE", tmp_path)
        remove_left_over_labs()
        assert left.folder.exists()  # it is younger than STALE
        os.utime(left.folder, (0, 0))
        remove_left_over_labs()
        assert (left.folder.exists(), left.processes(), left.mounts()) == (False, [], [])
    finally:
        if left.folder.exists():
            left.__exit__()

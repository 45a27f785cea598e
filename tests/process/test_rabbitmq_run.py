"""RabbitMQ's health check leaves zombies to `sleep` as a pod's PID 1 and none to pyinit, and an interrupted run of the
benchmark leaves nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import cgroups, inits, procfs, rabbit, user_namespaces
from benchmarks.experiments import rabbitmq
from benchmarks.pod import Pod
from pyinit.linux.procfs import list_processes
from support.settings import ROOT
from support.waiting import wait_until

COMMAND = [sys.executable, "-m", "benchmarks", "rabbitmq", "--quick"]
SLEEPER, PAUSE = "sleep (as pause v3.0)", "pyinit pause"

real = pytest.mark.everything("runs of benchmarks")


@pytest.fixture
def needs_rabbitmq() -> None:
    """Skip a test without RabbitMQ, or without the right to make a PID namespace for it."""
    if rabbit.find_home() is None:
        pytest.skip("rabbitmq-server is not installed")
    if not user_namespaces.may_make_namespaces():
        pytest.skip("needs root")


def test_without_rabbitmq_it_is_said_how_to_get_it() -> None:
    program = ("import sys; from benchmarks import cli, rabbit; rabbit.HOMES = '/nowhere/*'; "
               "sys.exit(cli.main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", program, "rabbitmq", "--quick", "--only", PAUSE], cwd=ROOT,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "apt-get install rabbitmq-server" in done.stdout


@real
@pytest.mark.timeout(300)
def test_rabbitmq_leaves_zombies_to_a_sleep_and_none_to_pyinit(needs_rabbitmq: None, tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "--only", f"{SLEEPER},{PAUSE}", "--json", str(tmp_path / "f.json")], cwd=ROOT,
                          capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["init"]: row for row in json.loads((tmp_path / "f.json").read_text())["experiments"][0]["data"]}
    bad, good = rows[SLEEPER], rows[PAUSE]
    assert (good["zombies"], good["failed"]) == ([0] * rabbitmq.QUICK_CHECKS, 0)
    assert set(good["until"].values()) == {None}
    assert bad["zombies"] == sorted(bad["zombies"]) and bad["zombies_per_check"] > 0
    assert "inet_gethost" in bad["by_name"]
    if cgroups.find_root():
        assert bad["failed"] == rabbitmq.FAILURES and bad["restarted"] is False
        assert bad["until"]["1024"] < bad["until"]["4096"] < bad["until"]["32768"]


@real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_of_rabbitmq_leaves_nothing(needs_rabbitmq: None, tmp_path: Path, number: int) -> None:
    """The test finds the run's processes by the temporary folder in their environment."""
    process = subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               start_new_session=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        wait_until(lambda: has_process("beam.smp", tmp_path), "the server's process")
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert not has_process("", tmp_path)
    assert list(tmp_path.iterdir()) == []
    for root in cgroups.list_roots("pids"):
        assert not [name for name in os.listdir(root) if name.startswith(f"{cgroups.PREFIX}{process.pid}-")]


def has_process(name: str, folder: Path) -> bool:
    """Say whether a process with a name, or with any name if that is "", has the folder in its environment."""
    for pid in list_processes():
        try:
            if name in ("", procfs.read_name(pid)) and f"={folder}/" in procfs.read(f"/proc/{pid}/environ"):
                return True
        except OSError:
            continue
    return False


# Leaves a process whose parent exits first, so that it ends as a child of PID 1; prints its own parent's PID.
LEAVE_A_ZOMBIE = "(sleep 0.05 &); read -r _ _ _ parent _ < /proc/self/stat; echo $parent"


@pytest.mark.usefixtures("mounts")
def test_what_enters_a_pod_has_its_parent_outside_and_its_orphans_go_to_the_pause(tmp_path: Path) -> None:
    if not user_namespaces.may_make_namespaces():
        pytest.skip("needs root")
    sleep = inits.Init("sleep", inits.SLEEPER, [shutil.which("sleep") or "/bin/sleep", "infinity"])
    with Pod(sleep, None) as pod, open(tmp_path / "output", "w+b") as output:
        assert pod.enter(["/bin/sh", "-c", LEAVE_A_ZOMBIE], dict(os.environ), output).wait(20) == 0
        wait_until(lambda: pod.count_zombies() == Counter(sleep=1), "a zombie below the pause")
        pid = pod.pause.pid
        output.seek(0)
        assert output.read() == b"0\n"
    assert procfs.read_state(pid) == ""

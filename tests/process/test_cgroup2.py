"""With cgroup v2 at /sys/fs/cgroup, the zombie report names the right containers and budgets, also of zombies that
outlive their cgroup; and an init that has used up its CPU quota leaves zombies, unless the kernel reaps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.processes import Running, python
from support.settings import DEADLINE
from support.settings import ROOT as CHECKOUT
from support.waiting import wait_until
from support.zombie_scenes import LEAVE, groups_of, needs_root, ready, report

pytestmark = needs_root

ROOT = Path("/sys/fs/cgroup")
POD = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
CONTAINER = "c0ffee" + "0" * 58

# Writes "ready" before it makes its zombies, so that the test can move it into the cgroup first, and again afterwards.
LEAVE_LATER = LEAVE.format(before="os.write(1, b'ready\\n'); os.read(0, 1)")


class Pod(NamedTuple):
    """The cgroups of a pod and of its container, as containerd makes them with the systemd driver."""

    top: Path
    slice: Path
    scope: Path

    def path_of(self, folder: Path) -> str:
        """Return a cgroup's path as /proc/PID/cgroup has it."""
        return f"/{folder.relative_to(ROOT)}"


def skip_without(controller: str) -> None:
    """Skip the test unless cgroups with a controller can be made here."""
    controllers = ROOT / "cgroup.controllers"
    if not controllers.exists() or controller not in controllers.read_text().split() or not os.access(ROOT, os.W_OK):
        pytest.skip(f"no cgroup v2 with the {controller} controller at /sys/fs/cgroup, or it is read-only")


@pytest.fixture
def pod() -> Iterator[Pod]:
    """Make the cgroup of a pod, with a limit of 40 tasks, and of its container, with 30."""
    skip_without("pids")
    top = Path(tempfile.mkdtemp(prefix="pyinit-test-", dir=ROOT))
    pod = top / f"kubepods-besteffort-pod{POD.replace('-', '_')}.slice"
    scope = pod / f"cri-containerd-{CONTAINER}.scope"
    try:
        (ROOT / "cgroup.subtree_control").write_text("+pids")
        for folder, limit in (pod, "40"), (scope, "30"):
            (folder.parent / "cgroup.subtree_control").write_text("+pids")
            folder.mkdir()
            (folder / "pids.max").write_text(limit)
        yield Pod(top, pod, scope)
    finally:
        for folder in (scope, pod, top):
            if folder.is_dir():
                wait_until(lambda folder=folder: "populated 0" in (folder / "cgroup.events").read_text(), "its end")
                folder.rmdir()


def leave_in(pod: Pod, running: Running) -> None:
    """Move a program into the container's cgroup, and let it leave its zombies there."""
    (pod.scope / "cgroup.procs").write_text(str(running.pid))
    running.write(b"\n")
    running.expect("ready")


def budgets_of(pod: Pod) -> dict[str, tuple[int, int]]:
    """Return the used tasks and the limit of each of the pod's cgroups, by its path."""
    return {budget["scope"]: (budget["used"], budget["limit"]) for budget in report()["budgets"]
            if budget["budget"] == "cgroup" and budget["scope"].startswith(pod.path_of(pod.top))}


def test_container_and_budgets(pod: Pod) -> None:
    with ready(python(LEAVE_LATER, "7")) as running:
        leave_in(pod, running)
        group, = groups_of(running.pid)
        container = {"runtime": "containerd", "name": CONTAINER, "pod": POD}
        assert group["origin"] == group["parent"]["container"] == container
        assert budgets_of(pod) == {pod.path_of(pod.slice): (8, 40), pod.path_of(pod.scope): (8, 30)}


def test_zombies_stay_where_their_parent_was(pod: Pod) -> None:
    """The kernel shows the cgroup in which a zombie ended, and charges it until the zombie is reaped, cgroups(7)."""
    with ready(python(LEAVE_LATER, "7")) as running:
        leave_in(pod, running)
        (ROOT / "cgroup.procs").write_text(str(running.pid))
        group, = groups_of(running.pid)
        assert (group["origin"]["name"], group["zombies"]) == (CONTAINER, 7)
        assert budgets_of(pod) == {pod.path_of(pod.slice): (7, 40), pod.path_of(pod.scope): (7, 30)}


def test_zombies_of_a_removed_cgroup_count_in_its_ancestor(pod: Pod) -> None:
    """A cgroup that has only zombies can be removed, cgroups(7)."""
    with ready(python(LEAVE_LATER, "7")) as running:
        leave_in(pod, running)
        (ROOT / "cgroup.procs").write_text(str(running.pid))
        zombie = groups_of(running.pid)[0]["pids"][0]
        wait_until(lambda: "populated 0" in (pod.scope / "cgroup.events").read_text(), "only zombies to be left")
        os.rmdir(pod.scope)
        assert Path(f"/proc/{zombie}/cgroup").read_text().endswith(f"{pod.scope.name} (deleted)\n")
        group, = groups_of(running.pid)
        assert (group["origin"]["name"], group["zombies"]) == (CONTAINER, 7)
        assert budgets_of(pod) == {pod.path_of(pod.slice): (7, 40)}


# The experiment of the benchmarks with fewer orphans: an emulated machine makes 25 of them a second.
THROTTLE = """
import sys
from benchmarks import cli
from benchmarks.experiments import throttle
throttle.STORM = "paced 5000 400"
sys.exit(cli.main(sys.argv[1:]))
"""


def test_throttled_init_has_zombies_unless_the_kernel_reaps(tmp_path: Path) -> None:
    skip_without("cpu")
    figures = tmp_path / "figures.json"
    done = subprocess.run([sys.executable, "-c", THROTTLE, "throttle", "--quick", "--json", figures, "--only",
                           "pyinit pause,pyinit pause (kernel)"], cwd=CHECKOUT, capture_output=True, text=True,
                          timeout=10 * DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["init"]: row for row in json.loads(figures.read_text())["experiments"][0]["data"]}
    loop, kernel = rows["pyinit pause"], rows["pyinit pause (kernel)"]
    assert loop["most_zombies"] > 0 and loop["times_stopped"] > 0 and loop["left"] == 0, done.stdout
    assert (kernel["reaped_by"], kernel["most_zombies"], kernel["left"]) == ("the kernel", 0, 0)

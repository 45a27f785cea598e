"""Fixtures: pyinit in each of its modes and ways in, and a stand-in that does not reap."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
pytest.register_assert_rewrite("support")  # so that its assertions say what they compared

import cri  # noqa: E402
from containers import BASE, Lab, reason_to_skip  # noqa: E402
from isolation import Leftovers, adopt_orphans, reset_environment, reset_signals  # noqa: E402
from support import NAMESPACE, PYTHON, ROOT, STAND_IN, Init, emulate, kernel_can_reap, python  # noqa: E402

from pyinit.lean import MACHINES  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "core: what every Python version has to pass")
    reset_signals()
    reset_environment()
    config.pluginmanager.register(Leftovers(adopt_orphans()))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that sets BOTH_REAPERS has its tests run with each; every other one with the waitpid loop."""
    if "reaper" in metafunc.fixturenames and getattr(metafunc.module, "BOTH_REAPERS", False):
        metafunc.parametrize("reaper", ["wait", "kernel"], indirect=True)


@pytest.fixture(scope="session")
def install_folder() -> Iterator[Path]:
    """A folder that every user may read: some tests give up root."""
    folder = Path(tempfile.mkdtemp(prefix="pyinit-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def launcher(install_folder: Path) -> str:
    """A launcher as a user installs it."""
    path = install_folder / "pyinit"
    subprocess.run([PYTHON, "-m", "pyinit.launcher", path], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return str(path)


@pytest.fixture(scope="session")
def pause_launcher(install_folder: Path) -> str:
    """A launcher of the pause."""
    path = install_folder / "pause"
    subprocess.run([PYTHON, "-m", "pyinit.launcher", "--pause", path], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return str(path)


@pytest.fixture(scope="session")
def lean_pauses(install_folder: Path) -> dict[str, str]:
    """The lean pause for each machine."""
    paths = {machine: str(install_folder / f"lean-{machine}") for machine in MACHINES}
    for machine, path in paths.items():
        subprocess.run([PYTHON, "-m", "pyinit.lean", "pause", path, "--machine", machine], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
    return paths


@pytest.fixture(params=list(MACHINES))
def lean_pause(request: pytest.FixtureRequest, lean_pauses: dict[str, str]) -> list[str]:
    """The command of each machine's lean pause."""
    return lean_command(request.param, lean_pauses)


def lean_command(machine: str, lean_pauses: dict[str, str]) -> list[str]:
    """What runs a machine's lean pause here."""
    front = emulate(machine)
    if front is None:
        pytest.skip(f"qemu-{machine}-static is not installed")
    return [*front, lean_pauses[machine]]


@pytest.fixture(scope="session")
def namespaces() -> bool:
    """Whether PID namespaces can be made here."""
    return subprocess.run([*NAMESPACE, "true"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode == 0


@pytest.fixture(params=["pid1", "subreaper"])
def mode(request: pytest.FixtureRequest, namespaces: bool) -> str:
    """How pyinit gets orphans: as PID 1 of a new PID namespace, or as a subreaper."""
    if request.param == "pid1" and not namespaces:
        pytest.skip("no PID namespaces: needs root, or user namespaces, and a /proc that may be mounted")
    return request.param


@pytest.fixture
def reaper(request: pytest.FixtureRequest) -> str:
    """What reaps: the waitpid loop or the kernel."""
    chosen = getattr(request, "param", "wait")
    if chosen == "kernel" and not kernel_can_reap():
        pytest.skip("Linux is older than 6.15: --reap kernel falls back to the loop")
    return chosen


@pytest.fixture
def init(mode: str, launcher: str, reaper: str) -> Init:
    """The launcher, which is what users run, in each mode."""
    return Init(mode, [launcher], reaper)


@pytest.fixture(params=["launcher", "module"])
def any_init(request: pytest.FixtureRequest, mode: str, launcher: str, reaper: str) -> Init:
    """Both ways in, in each mode."""
    return Init(mode, [launcher] if request.param == "launcher" else [PYTHON, "-m", "pyinit"], reaper)


@pytest.fixture
def stand_in(mode: str) -> Init:
    """What adopts and does not reap."""
    return Init(mode, python(STAND_IN))


@pytest.fixture
def needs_root() -> None:
    """Skips a test for whoever is not root."""
    if os.geteuid():
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def session_lab() -> Iterator[Lab]:
    """A podman of the tests' own, with a base image that has python3."""
    reason = reason_to_skip()
    if reason:
        pytest.skip(reason)
    with Lab() as lab:
        lab.import_base()
        yield lab


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """The lab without a container in it, before and after."""
    yield session_lab
    session_lab.remove_all()


@pytest.fixture(scope="session")
def pause_image(session_lab: Lab) -> str:
    """The pause image, as the README builds it."""
    session_lab.build("pause", ROOT / "Dockerfile.pause", context=ROOT)
    return "localhost/pause"


@pytest.fixture(scope="session")
def sleep_image(session_lab: Lab) -> str:
    """What stands in for a pause and does not reap: the tests of the reaping must fail with it."""
    dockerfile = session_lab.write("Dockerfile.sleep", f'FROM {BASE}\nENTRYPOINT ["sleep", "infinity"]\n')
    session_lab.build("sleep", dockerfile)
    return "localhost/sleep"


@pytest.fixture(scope="session")
def needs_containerd(session_lab: Lab) -> None:
    """Skips a test where containerd cannot be run."""
    reason = cri.reason_to_skip()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def lean_image(session_lab: Lab) -> str:
    """The lean pause image, as the README builds it."""
    session_lab.build("lean", ROOT / "Dockerfile.pause", "--target", "lean", context=ROOT)
    return "localhost/lean"


# Each image that is to be a pause, by its fixture.
@pytest.fixture(scope="session", params=["pause_image", "lean_image"])
def each_pause(request: pytest.FixtureRequest) -> str:
    """The image of each pause."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def node(needs_containerd: None, session_lab: Lab, each_pause: str) -> Iterator[cri.Containerd]:
    """A containerd with each of the pauses."""
    with cri.Containerd(session_lab, each_pause, BASE) as containerd:
        yield containerd

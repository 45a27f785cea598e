"""pytest's options, and fixtures: pyinit in each mode and started in each way, and a stand-in that does not reap."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyinit.lean import MACHINES
from support import cri, selection, vm
from support.containers import BASE, Lab, reason_to_skip
from support.inits import STAND_IN, Init
from support.isolation import Leftovers, adopt_orphans, reset_environment, reset_signals
from support.machine import kernel_can_reap, lean_command
from support.processes import python
from support.settings import MOUNTS, NAMESPACE, PYTHON, ROOT
from support.workers import Workers, usual_count


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--everything", action="store_true",
                     help="run all tests, in a quarter of an hour: also containers, virtual machines, storms, every"
                          " Python and every combination")
    parser.addoption("--processes", type=int, default=usual_count(), metavar="N",
                     help="run the tests in so many processes; by itself one more than there are cores")
    parser.addoption("--left-out", action="store_true",
                     help="run what a plain run leaves out, and no more: both together are --everything")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "core: what every Python version has to pass")
    config.addinivalue_line("markers", "everything(group): left to --everything, counted as one of that group")
    config.addinivalue_line("markers", "usual(dimension, ...): unusual values of these are left to --everything")
    reset_signals()
    reset_environment()
    leftovers = Leftovers(adopt_orphans())
    config.pluginmanager.register(leftovers)
    config.pluginmanager.register(Workers(config.getoption("processes"), leftovers))
    selection.left_out_only = config.getoption("left_out")
    selection.everything = config.getoption("everything") or selection.left_out_only
    config.pluginmanager.register(selection.Selection())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module that sets BOTH_REAPERS with each reaper, all others with the waitpid loop."""
    if "reaper" in metafunc.fixturenames and getattr(metafunc.module, "BOTH_REAPERS", False):
        metafunc.parametrize("reaper", ["wait", "kernel"], indirect=True)


@pytest.fixture(scope="session")
def install_folder() -> Iterator[Path]:
    """Make a folder that every user may read, as some tests give up root."""
    folder = Path(tempfile.mkdtemp(prefix="pyinit-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def launcher(install_folder: Path) -> str:
    """Install a launcher as a user does, and return its path."""
    path = install_folder / "pyinit"
    subprocess.run([PYTHON, "-m", "pyinit.launcher", path], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return str(path)


@pytest.fixture(scope="session")
def script_launcher(install_folder: Path) -> str:
    """Install a launcher that is a script, as on a machine without a stub, and return its path."""
    path = install_folder / "script" / "pyinit"
    path.parent.mkdir(mode=0o755)
    subprocess.run([PYTHON, "-m", "pyinit.launcher", "--script", path], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)
    return str(path)


@pytest.fixture(scope="session")
def pause_launcher(install_folder: Path) -> str:
    """Install a launcher of the pause, and return its path."""
    path = install_folder / "pause"
    subprocess.run([PYTHON, "-m", "pyinit.launcher", "--pause", path], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return str(path)


@pytest.fixture(scope="session")
def lean_pauses(install_folder: Path) -> dict[str, str]:
    """Return the path of each machine's lean pause."""
    return write_lean("pause", install_folder)


@pytest.fixture(scope="session")
def lean_inits(install_folder: Path) -> dict[str, str]:
    """Return the path of each machine's lean init."""
    return write_lean("init", install_folder)


@pytest.fixture(scope="session")
def lean_probes(install_folder: Path) -> dict[str, str]:
    """Return the path of each machine's lean probe."""
    return write_lean("probe", install_folder)


def write_lean(program: str, folder: Path) -> dict[str, str]:
    """Write a lean program for each machine; return the paths by machine."""
    paths = {machine: str(folder / f"lean-{program}-{machine}") for machine in MACHINES}
    for machine, path in paths.items():
        subprocess.run([PYTHON, "-m", "pyinit.lean", program, path, "--machine", machine], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
    return paths


@pytest.fixture(params=list(MACHINES))
def lean_pause(request: pytest.FixtureRequest, lean_pauses: dict[str, str]) -> list[str]:
    """Return the command that runs each machine's lean pause."""
    return lean_command(request.param, lean_pauses[request.param])


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip a test if no PID namespace with a /proc of its own can be made."""
    if subprocess.run([*NAMESPACE, "true"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode:
        pytest.skip("no PID namespaces: needs root, or user namespaces, and a /proc that may be mounted")


@pytest.fixture(scope="session")
def mounts() -> None:
    """Skip a test if no file system can be mounted: in a chroot the root's propagation cannot be changed."""
    if subprocess.run([*MOUNTS, "mount", "-t", "tmpfs", "none", "/proc"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no mount namespaces: needs root, or user namespaces, and no chroot")


@pytest.fixture(params=["pid1", "subreaper"])
def mode(request: pytest.FixtureRequest) -> str:
    """Return how pyinit gets orphans: as PID 1 of a new PID namespace, or as a subreaper."""
    if request.param == "pid1":
        request.getfixturevalue("namespaces")
    return request.param


@pytest.fixture
def reaper(request: pytest.FixtureRequest) -> str:
    """Return what reaps: the waitpid loop ("wait") or the kernel ("kernel")."""
    chosen = getattr(request, "param", "wait")
    if chosen == "kernel" and not kernel_can_reap():
        pytest.skip("Linux is older than 6.15: --reap kernel falls back to the loop")
    return chosen


@pytest.fixture
def init(mode: str, launcher: str, reaper: str) -> Init:
    """Return the launcher, which is what users run, in each mode."""
    return Init(mode, [launcher], reaper)


@pytest.fixture(params=["launcher", "script", "module"])
def any_init(request: pytest.FixtureRequest, mode: str, launcher: str, script_launcher: str, reaper: str) -> Init:
    """Return pyinit started in each way (launcher, script, module), in each mode."""
    programs = {"launcher": [launcher], "script": [script_launcher], "module": [PYTHON, "-m", "pyinit"]}
    return Init(mode, programs[request.param], reaper)


@pytest.fixture
def stand_in(mode: str) -> Init:
    """Return a stand-in for pyinit that adopts orphans and does not reap them."""
    return Init(mode, python(STAND_IN))


@pytest.fixture
def needs_root() -> None:
    """Skip a test unless it runs as root."""
    if os.geteuid():
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def session_lab() -> Iterator[Lab]:
    """Make a podman of the tests' own, with a base image that has python3."""
    reason = reason_to_skip()
    if reason:
        pytest.skip(reason)
    with Lab() as lab:
        lab.import_base()
        yield lab


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """Return the lab, and remove its containers after the test."""
    yield session_lab
    session_lab.remove_all()


@pytest.fixture(scope="session")
def pause_image(session_lab: Lab) -> str:
    """Build the pause image as the README does, and return its name."""
    session_lab.build("pause", ROOT / "Dockerfile.pause", context=ROOT)
    return "localhost/pause"


@pytest.fixture(scope="session")
def sleep_image(session_lab: Lab) -> str:
    """Build an image that replaces a pause and does not reap, with which the tests of the reaping must fail."""
    dockerfile = session_lab.write("Dockerfile.sleep", f'FROM {BASE}\nENTRYPOINT ["sleep", "infinity"]\n')
    session_lab.build("sleep", dockerfile)
    return "localhost/sleep"


@pytest.fixture(scope="session")
def needs_containerd(session_lab: Lab) -> None:
    """Skip a test if containerd cannot run here."""
    reason = cri.reason_to_skip()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def lean_image(session_lab: Lab) -> str:
    """Build the lean pause image as docs/pause.md does, and return its name."""
    session_lab.build("lean", ROOT / "Dockerfile.pause", "--target", "lean", context=ROOT)
    return "localhost/lean"


# Each pause image, by its fixture.
@pytest.fixture(scope="session", params=["pause_image", "lean_image"])
def each_pause(request: pytest.FixtureRequest) -> str:
    """Return the name of each pause image."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def node(needs_containerd: None, session_lab: Lab, each_pause: str) -> Iterator[cri.Containerd]:
    """Run a containerd with each of the pauses."""
    with cri.Containerd(session_lab, each_pause, BASE) as containerd:
        yield containerd


@pytest.fixture(scope="session")
def vm_folder() -> Iterator[Path]:
    """Make a folder for the initramfs, consoles and results of virtual machines."""
    reason = vm.reason_to_skip()
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="pyinit-vm-") as folder:
        yield Path(folder)

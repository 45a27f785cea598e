"""pyinit works as PID 1 of a whole machine: the kernel executes it instead of /init, and panics when it ends.

At Ctrl-Alt-Del the kernel sends SIGINT to PID 1 if kernel.ctrl-alt-del is 0, and otherwise restarts the machine at
once, reboot(2). The tests also run tini, which does not change that setting.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from support.machine import version_of
from support.settings import PYTHON, ROOT
from support.vm import VirtualMachine
from support.vm_images import KERNELS, make_base, write_initramfs

# The time also covers making images that are not in the cache yet, which needs a mirror.
pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

PRESS = "press Ctrl-Alt-Del"
GUEST_PYTHON = "/usr/bin/python3"  # in the virtual machine, and here on a Debian of the same suite


def read_program(name: str) -> bytes:
    return (ROOT / "tests" / "programs" / f"{name}.sh").read_bytes()


def write_launcher(folder: Path, *options: str) -> dict[str, bytes]:
    """Return the files of a launcher for the virtual machine's interpreter."""
    folder.mkdir()
    if not (version_of(GUEST_PYTHON) or "").startswith("3.11."):
        pytest.skip(f"{GUEST_PYTHON} is not 3.11, as in the virtual machine: no launcher can be written for that")
    subprocess.run([GUEST_PYTHON, "-m", "pyinit.launcher", *options, folder / "pid1"], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)
    return {path.name: path.read_bytes() for path in folder.glob("pid1*")}


@pytest.fixture(scope="session")
def initramfs(vm_folder: Path) -> dict[str, Path]:
    """Write an initramfs for each architecture, with each init and each pause in its own folder; return the paths."""
    scripts = {f"{name}.sh": read_program(f"vm_{name}") for name in ("orphans", "main_child", "beside_pause")}
    paths = {}
    for architecture, machine in {"amd64": "x86_64", "arm64": "aarch64"}.items():
        files = dict(scripts)
        for program, options in {"init": [], "pause": ["--pause"]}.items():
            if architecture == "amd64":
                for name, content in write_launcher(vm_folder / f"launcher-{program}", *options).items():
                    files[f"launcher/{program}/{name}"] = content
            lean = vm_folder / f"lean-{program}-{machine}"
            subprocess.run([PYTHON, "-m", "pyinit.lean", program, lean, "--machine", machine], cwd=ROOT, check=True,
                           stdout=subprocess.DEVNULL)
            files[f"lean/{program}/pid1"] = lean.read_bytes()
        paths[architecture] = vm_folder / f"initramfs-{architecture}"
        write_initramfs(paths[architecture], make_base(architecture), files)
    return paths


TINI, LEAN, LAUNCHER = "/usr/bin/tini", "/lean/init/pid1", "/launcher/init/pid1"
LEAN_PAUSE, PAUSE = "/lean/pause/pid1", "/launcher/pause/pid1"


def boot(kernel: str, initramfs: dict[str, Path], init: str, folder: Path) -> str:
    """Boot a kernel with an init, press Ctrl-Alt-Del when the machine asks for it, and return the console at its end.

    The kernel has no driver for a keyboard of the arm64 machine without modules: there a process sends PID 1 the
    signal.
    """
    architecture = KERNELS[kernel].architecture
    keyboard = "yes" if architecture == "amd64" else "no"
    program, _, arguments = init.partition(" -- ")
    line = f"{program} KEYBOARD={keyboard} -- {arguments}"
    with VirtualMachine(KERNELS[kernel], initramfs[architecture], line, folder) as machine:
        machine.wait_for(PRESS)
        if keyboard == "yes":
            machine.press("ctrl-alt-delete")
        return machine.finish()


def read_lines(console: str) -> list[str]:
    """Return the lines that programs have written; the kernel's lines begin with a time."""
    return [line for line in console.splitlines() if line and not line.startswith("[")]


def find_exit_code(console: str) -> int:
    """Return the wait status of PID 1 that the kernel prints when it panics."""
    found = re.search(r"Kernel panic - not syncing: Attempted to kill init! exitcode=0x([0-9a-f]{8})", console)
    assert found, console
    return int(found[1], 16)


@pytest.mark.parametrize("kernel, program", [("6.1", TINI), ("6.1", LEAN), ("6.1", LAUNCHER), ("6.1-arm64", LEAN)])
def test_init(kernel: str, program: str, initramfs: dict[str, Path], tmp_path: Path) -> None:
    console = boot(kernel, initramfs, f"{program} -- /main_child.sh soft word", tmp_path)
    assert read_lines(console) == ["child of 1: soft word", "orphans left: 0", "power: yes", PRESS, "interrupt: yes"]
    assert find_exit_code(console) == 7 << 8


def test_restart_without_a_signal(initramfs: dict[str, Path], tmp_path: Path) -> None:
    console = boot("6.1", initramfs, f"{LAUNCHER} -- /main_child.sh hard", tmp_path)
    assert read_lines(console)[-1] == PRESS and "Restarting system" in console and "panic" not in console, console


@pytest.mark.parametrize("kernel, program", [("6.1", LEAN_PAUSE), ("6.1", PAUSE), ("6.1-arm64", LEAN_PAUSE)])
def test_pause(kernel: str, program: str, initramfs: dict[str, Path], tmp_path: Path) -> None:
    console = boot(kernel, initramfs, f"/beside_pause.sh -- {program}", tmp_path)
    assert read_lines(console)[:3] == ["orphans left: 0", "orphans left: 0", PRESS]
    assert find_exit_code(console) == 0


def test_orphans_are_left_without_a_reaper(initramfs: dict[str, Path], tmp_path: Path) -> None:
    """The tests above can fail: with `sleep` as the pause, zombies stay."""
    line = "/beside_pause.sh TRIES=20 -- /bin/sleep 1000"
    with VirtualMachine(KERNELS["6.1"], initramfs["amd64"], line, tmp_path) as machine:
        machine.wait_for("orphans left:")
        assert read_lines(machine.read_console())[0] == "orphans left: 20"


def test_machine_that_hangs_is_ended(initramfs: dict[str, Path], tmp_path: Path) -> None:
    with VirtualMachine(KERNELS["6.1"], initramfs["amd64"], "/bin/sleep -- 1000", tmp_path) as machine:
        with pytest.raises(AssertionError, match="the machine did not end in 1 s"):
            machine.finish(1)
    assert machine.process.returncode == -9

"""Virtual machines: QEMU emulates a whole machine, without KVM, that boots a kernel of Debian from an initramfs.

The console of the machine is a file. Programs in it write their result to a second serial port, which is a file, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from support.vm_images import Kernel, make_kernel
from support.waiting import wait_until

# Seconds after which a machine that has not ended is killed: ten times what a boot takes.
BOOT_DEADLINE = 90.0


class Machine(NamedTuple):
    """How QEMU emulates an architecture, the kernel's options there, and its name of the second serial port."""

    program: str
    options: tuple[str, ...]
    append: str
    result: str


MACHINES = {
    # no_timer_check: on a loaded machine the kernel would miss the ticks with which it tests its timer, and panic.
    "amd64": Machine("qemu-system-x86_64", ("-cpu", "max", "-serial", "chardev:result"),
                     "console=ttyS0 no_timer_check", "ttyS1"),
    "arm64": Machine("qemu-system-aarch64", ("-machine", "virt", "-cpu", "cortex-a72", "-device",
                                             "pci-serial,chardev=result"), "console=ttyAMA0", "ttyS0"),
}


def reason_to_skip() -> str:
    """Return why virtual machines cannot run here, or "" if they can."""
    if os.geteuid() != 0:
        return "mmdebstrap makes device files, which needs root here"
    programs = ("mmdebstrap", *(machine.program for machine in MACHINES.values()))
    missing = [program for program in programs if not shutil.which(program)]
    return f"not installed: {' '.join(missing)}" if missing else ""


class VirtualMachine:
    """A running machine; the end of a `with` kills it."""

    def __init__(self, kernel: Kernel, initramfs: Path, init: str, folder: Path) -> None:
        """Boot. init: the path of PID 1, then more of the kernel's command line, and PID 1's arguments after `--`.

        folder: gets the files of the console and of the result.
        """
        machine = MACHINES[kernel.architecture]
        self.console, self.result = folder / "console", folder / "result"
        self.console.write_bytes(b"")
        # panic=-1: reboot at once, at which QEMU ends because of -no-reboot. nice: other programs here go first.
        append = f"{machine.append} quiet panic=-1 rdinit={init}"
        self.process = subprocess.Popen(
            ["nice", machine.program, "-accel", "tcg", "-smp", "2", "-m", "2048", "-nodefaults", "-no-user-config",
             "-nic", "none", "-display", "none", "-no-reboot", "-monitor", "stdio", "-serial", f"file:{self.console}",
             "-chardev", f"file,id=result,path={self.result}", *machine.options, "-kernel", make_kernel(kernel),
             "-initrd", initramfs, "-append", append],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        assert self.process.stdin
        self.monitor = self.process.stdin

    def __enter__(self) -> VirtualMachine:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.monitor.close()

    def read_console(self) -> str:
        """Return what the machine has written to its console until now."""
        return self.console.read_bytes().decode(errors="replace").replace("\r", "")

    def wait_for(self, text: str) -> None:
        """Wait until the console shows a whole line with a text; fail if the machine ends first, or at the deadline."""
        line = re.compile(re.escape(text) + ".*\n")
        try:
            wait_until(lambda: line.search(self.read_console()) or self.process.poll() is not None,
                       f"{text!r} on the console", BOOT_DEADLINE)
        finally:
            assert line.search(self.read_console()), self.read_console()

    def press(self, keys: str) -> None:
        """Press keys on the machine's keyboard, given by QEMU's names."""
        self.monitor.write(f"sendkey {keys}\n".encode())
        self.monitor.flush()

    def finish(self, deadline: float = BOOT_DEADLINE) -> str:
        """Wait until the machine has ended, and return its console; fail at the deadline."""
        try:
            self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            text = f"the machine did not end in {deadline} s; its console:\n{self.read_console()}"
            raise AssertionError(text) from None
        return self.read_console()

"""The tests of tests/process that depend on the kernel pass in virtual machines on other kernels than this one.

One boot of each kernel runs all of its tests. Each test here checks the report of one module.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from support.settings import ROOT
from support.vm import MACHINES, VirtualMachine
from support.vm_images import KERNELS, make_base, make_kernel, read_checkout, write_initramfs

# The time covers the machine, and making images that are not in the cache yet, which needs a mirror.
pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

# Seconds for all tests of a kernel: ten times what they take on two idle cores.
DEADLINE = 900

# The tests of each module, or "" for all. Without KVM most tests take seconds, so these are only the ones that depend
# on the kernel, in few variants.
EVERYWHERE = {
    "kernels": [""],
    "lean_pause": ["test_subreaper_that_executes_the_pause", "test_orphans_do_not_wake_it",
                   "test_signal_pending_before_exec", "test_sandbox_of_its_calls_alone", "test_what_strace_sees"],
    "lean_init": ["test_orphans_are_reaped", "test_every_signal_arrives_once", "test_real_time_signals_queue",
                  "test_child_that_ends_at_once", "test_early_signal_reaches_the_main_child"],
    "lean_process": ["test_sandbox_of_its_calls_alone", "test_pid_1_never_stops", "test_foreground_is_given_back"],
}
# For the machine on which only these tests run the stub's instructions; on a PC each launcher runs them.
WITH_STUB = {
    **EVERYWHERE,
    "stub": ["test_name_of_the_process", "test_executed_by_a_descriptor", "test_reset_of_the_signal_state"],
    "stub_signals": ["test_signal_before_the_interpreter"],
}
ON_PCS = {
    **EVERYWHERE,
    "kernel_reaping": ["test_pause[environment]"],
    "kernel_reaping_fallback": ["test_unsupported_falls_back_to_the_loop", "test_job_control_needs_the_loop"],
    "pause": ["test_end[launcher-2-Interrupt]", "test_end[launcher-15-Terminated]",
              "test_other_signals_do_nothing[launcher]", "test_orphans_of_others_are_reaped[launcher]"],
    "reaping": ["test_orphans_are_reaped", "test_subreaper_that_executes_pyinit_is_one"],
    "signals": ["test_every_signal_arrives_once", "test_parent_death_signal"],
    "turns": ["test_pause_amid_zombies"],
}
WITH_CGROUPS = {
    **ON_PCS,
    "cgroup2": [""],
    "zombie_report": ["test_budget_of_a_cgroup", "test_budget_of_a_user"],
    "zombies_live": ["test_report_inside_of_the_namespace", "test_parent_outside_of_the_namespace",
                     "test_leader_of_live_threads", "test_traced_zombie"],
}
TESTS = {"6.1": WITH_CGROUPS, "6.12": ON_PCS, "6.1-arm64": WITH_STUB}

# The reasons for which a test may be skipped in a machine.
REASONS = (
    r"Linux is older than 6\.15: --reap kernel falls back.*",
    r"(no lean init for \w+, or )?qemu-\w+-static is not installed",
)

Cases = dict[str, list[ElementTree.Element]]


def list_tests(name: str) -> bytes:
    """Return the tests of a kernel as pytest takes them, one a line."""
    return "".join(f"tests/process/test_{module}.py{'::' * bool(test)}{test}\n"
                   for module, names in TESTS[name].items() for test in names).encode()


def parse_report(report: bytes) -> Cases:
    """Return the test cases of a JUnit report by module, or {} if there is no report."""
    found: Cases = {}
    if report.strip():
        for case in ElementTree.fromstring(report).iter("testcase"):
            found.setdefault(case.get("classname", "").rpartition(".test_")[2], []).append(case)
    return found


@pytest.fixture(scope="session")
def run_tests(vm_folder: Path) -> Callable[[str], tuple[Cases, str]]:
    """Return a function that returns the test cases of a kernel by module, and its console. The first call boots it."""
    @lru_cache(maxsize=None)
    def run_tests_of(name: str) -> tuple[Cases, str]:
        kernel = KERNELS[name]
        make_kernel(kernel)
        folder = vm_folder / name
        folder.mkdir()
        files = {"init": (ROOT / "tests" / "programs" / "vm_tests.sh").read_bytes(), "tests": list_tests(name)}
        write_initramfs(folder / "initramfs", make_base(kernel.architecture), {**files, **read_checkout()})
        with VirtualMachine(kernel, folder / "initramfs", f"/init PORT={MACHINES[kernel.architecture].result}",
                            folder) as machine:
            try:
                console = machine.finish(DEADLINE)
            except AssertionError as error:
                return {}, str(error)
        assert re.search(rf"^Linux {re.escape(kernel.release)}\.", console, re.MULTILINE), console
        return parse_report((folder / "result").read_bytes()), console

    return run_tests_of


@pytest.mark.parametrize("kernel, module", [(kernel, module) for kernel in TESTS for module in TESTS[kernel]])
def test_module(run_tests: Callable, kernel: str, module: str) -> None:
    reports, console = run_tests(kernel)
    cases = reports.get(module, [])
    skipped = [case.find("skipped").get("message") for case in cases if case.find("skipped") is not None]
    failed = [f"{case.get('name')}: {problem.text}" for case in cases for problem in case
              if problem.tag in ("failure", "error")]
    assert not failed, "\n".join(failed)
    assert [reason for reason in skipped if not any(re.fullmatch(known, reason) for known in REASONS)] == []
    assert len(cases) > len(skipped), f"no test of {module} was run on Linux {kernel}; the console:\n{console}"

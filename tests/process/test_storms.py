"""In storms of orphans no zombie stays, and no signal or exit code is lost.

A plain run has each kind of storm with fewer orphans. PYINIT_STORM sets the number of orphans in the largest.
"""

from __future__ import annotations

import os
import signal

import pytest

from support.inits import Init
from support.orphans import ONE_BY_ONE, TOGETHER, leave_all, reap_all, scene
from support.proc import children_of
from support.processes import shell
from support.selection import amount
from support.waiting import wait_until

BOTH_REAPERS = True
FLAT_OUT = int(os.environ.get("PYINIT_STORM", amount(500, 5000)))
# Several processes make orphans at the same time, and each orphan makes two more.
NESTED = """
makers = []
for _ in range(5):
    makers.append(os.fork())
    if makers[-1] == 0:
        for _ in range(count // 15):
            orphan(lambda: (orphan(), orphan()))
        os._exit(0)
for maker in makers:
    os.waitpid(maker, 0)
"""
# Makes orphans until `count` signals have arrived. They are real-time signals, which are queued and not merged.
WITH_SIGNALS = """
import signal
number, got = signal.SIGRTMIN + 1, 0
signal.pthread_sigmask(signal.SIG_BLOCK, {number})
os.write(1, b"ready\\n")
while got < count:
    orphan()
    while signal.sigtimedwait({number}, 0):
        got += 1
"""


def test_orphans_flat_out(init: Init) -> None:
    reap_all(init, scene(ONE_BY_ONE, FLAT_OUT), FLAT_OUT)


def test_orphans_flat_out_without_a_reaper(stand_in: Init) -> None:
    leave_all(stand_in, scene(ONE_BY_ONE, 500), 500)


@pytest.mark.core
def test_orphans_in_one_instant(init: Init) -> None:
    reap_all(init, scene(TOGETHER, 500), 500)


def test_orphans_in_one_instant_without_a_reaper(stand_in: Init) -> None:
    leave_all(stand_in, scene(TOGETHER, 500), 500)


def test_nested_storm(init: Init) -> None:
    reap_all(init, scene(NESTED, 600), 600)


def test_nested_storm_without_a_reaper(stand_in: Init) -> None:
    leave_all(stand_in, scene(NESTED, 600), 600)


def test_main_child_exits_amid_a_storm(init: Init) -> None:
    """The main child exits with 200 exit codes, 20 in a plain run, while orphans are made and exit."""
    storm = 'i=0; while [ $i -lt 12 ]; do ( : & ) & i=$((i+1)); done; exit "$1"'
    codes = range(1, amount(21, 201))
    ended = [init.run(shell(storm, str(code))).code for code in codes]
    assert ended == list(codes)


def test_main_child_killed_amid_a_storm(init: Init) -> None:
    storm = 'i=0; while [ $i -lt 12 ]; do ( : & ) & i=$((i+1)); done; kill -9 $$'
    tries = amount(5, 40)
    assert [init.run(shell(storm)).code for _ in range(tries)] == [137] * tries


def test_signals_amid_a_storm(init: Init) -> None:
    """Each of 300 signals arrives while orphans are reaped; the storm ends with the last signal."""
    with init.start(scene(WITH_SIGNALS, 300)) as running:
        running.expect("ready")
        pid = running.pid
        for _ in range(300):
            os.kill(pid, signal.SIGRTMIN + 1)
        running.expect("done")
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        assert running.finish().code == 57

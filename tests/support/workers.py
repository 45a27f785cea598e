"""Run the tests in several processes, so that no core is idle: workers, which are forked once the tests are collected.

A worker takes one part of the tests after another, and sends pytest's report on each test. pytest's own process runs no
test: it hands out the parts, and passes the reports to its plugins, one module after another.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn, Optional

import pytest

from support.isolation import Leftovers, adopt_orphans

# With more workers, the longest module decides how long a run takes.
MOST = 5

# The modules of these folders share images and kernels, which take long to make: each folder is one part of the tests.
# These parts take the longest, and come first: otherwise one worker would still run one when the others are idle.
WHOLE = ("container", "vm")

Items = Sequence[pytest.Item]


def usual_count() -> int:
    """Return the default number of workers: one more than there are cores, as tests also wait, and at most MOST."""
    return min(len(os.sched_getaffinity(0)) + 1, MOST)


def split(items: Items) -> list[list[pytest.Item]]:
    """Return the parts of the tests that workers take: the folders of WHOLE, then each module in the tests' order."""
    parts: dict[Path, list[pytest.Item]] = {}
    for item in items:
        folder = item.path.parent
        parts.setdefault(folder if folder.name in WHOLE else item.path, []).append(item)
    return [parts[path] for path in sorted(parts, key=lambda path: path.name not in WHOLE)]


class Workers:
    """A pytest plugin that runs the tests in worker processes, if there are at least two parts of them."""

    def __init__(self, count: int, leftovers: Leftovers) -> None:
        self.count = count
        # Used in a run without workers; each worker has its own.
        self.leftovers = leftovers
        # The PID of each worker's guard, by the worker's connection.
        self.guards: dict[Connection, int] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Optional[bool]:
        """Run the tests and return True, or return None to leave them to pytest, which also ends a run whose modules
        cannot be imported.
        """
        options = session.config.option
        parts = split(session.items)
        count = min(self.count, len(parts))
        if count < 2 or session.testsfailed or options.collectonly or options.usepdb or options.trace:
            return None
        session.config.pluginmanager.unregister(self.leftovers)
        try:
            for _ in range(count):
                self.start_worker(session, parts)
            self.hand_out(session, parts)
        finally:
            self.end_workers()
        return True

    def start_worker(self, session: pytest.Session, parts: Sequence[Items]) -> None:
        """Fork a worker."""
        ours, its = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            # With a copy of an end of ours, a worker would not see that this process has closed it.
            work(session, its, [ours, *self.guards], parts)
        its.close()
        self.guards[ours] = pid

    def hand_out(self, session: pytest.Session, parts: Sequence[Items]) -> None:
        """Give the parts to the workers and their reports to pytest, until each worker has ended.

        Raises Failed and Interrupted as pytest's own loop does, RuntimeError if a worker has ended early.
        """
        left = iter(range(len(parts)))
        seen = {connection: Module(session) for connection in self.guards}
        try:
            while seen:
                for connection in [ready for ready in wait(list(seen)) if isinstance(ready, Connection)]:
                    if not answer(connection, seen[connection], left):
                        seen.pop(connection).show()
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
                if session.shouldstop:
                    raise session.Interrupted(session.shouldstop)
        finally:
            # After an error or an interrupt, the reports of the modules that were not yet done.
            for module in seen.values():
                module.show()

    def end_workers(self) -> None:
        """Interrupt the workers that still run, and wait for all of them."""
        for connection, pid in self.guards.items():
            os.kill(pid, signal.SIGINT)
            connection.close()  # a worker that waits for this process ends
        for pid in self.guards.values():
            os.waitpid(pid, 0)


def answer(connection: Connection, module: Module, left: Iterator[int]) -> bool:
    """Read a worker's message and do what it asks for; return False if the worker has run all of its tests.

    Raises RuntimeError if it has ended early, unless pytest has a reason to end the run.
    """
    try:
        message = connection.recv()
        if message is None:
            connection.send(next(left, None))
    except (EOFError, OSError):
        module.show()
        if module.session.shouldfail or module.session.shouldstop:
            return False
        raise RuntimeError(f"a worker ended early, in {module.name}") from None
    if message is ...:
        return False
    if message is not None:
        module.add(*message)
    return True


class Module:
    """The calls of hooks that a worker has sent about a module, kept as the terminal has one line for each module."""

    def __init__(self, session: pytest.Session) -> None:
        self.session = session
        self.name = ""
        self.calls: list[tuple[str, Mapping[str, object]]] = []

    def add(self, module: str, hook: str, arguments: Mapping[str, object]) -> None:
        """Keep the call of a hook. If it is the first of another module, show the previous module's calls before."""
        if module != self.name:
            self.show()
            self.name = module
        self.calls.append((hook, arguments))

    def show(self) -> None:
        """Call pytest's hooks as if the tests had run in this process."""
        config = self.session.config
        for hook, arguments in self.calls:
            if "report" in arguments:
                report = config.hook.pytest_report_from_serializable(config=config, data=arguments["report"])
                arguments = {"report": report}
            caller = getattr(config.hook, hook)
            caller.call_historic(kwargs=arguments) if caller.is_historic() else caller(**arguments)
        self.calls.clear()


class Sender:
    """A pytest plugin that sends the calls of pytest's hooks in a worker to pytest's own process."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self.config = config
        self.connection = connection

    def send(self, test: str, hook: str, **arguments: object) -> None:
        """Send the call of a hook."""
        self.connection.send((test.partition("::")[0], hook, arguments))

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, Optional[int], str]) -> None:
        """Send that a test begins."""
        self.send(nodeid, "pytest_runtest_logstart", nodeid=nodeid, location=location)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send the report on a test's setup, call or teardown."""
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.send(report.nodeid, "pytest_runtest_logreport", report=data)

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, Optional[int], str]) -> None:
        """Send that a test has ended."""
        self.send(nodeid, "pytest_runtest_logfinish", nodeid=nodeid, location=location)

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, when: str, nodeid: str,
                                location: object) -> None:
        """Send that a test has warned, as text: a warning may have objects that cannot be sent."""
        text = warnings.WarningMessage(str(warning_message.message), warning_message.category,
                                       warning_message.filename, warning_message.lineno, line=warning_message.line)
        self.send(nodeid, "pytest_warning_recorded", warning_message=text, when=when, nodeid=nodeid, location=location)


def work(session: pytest.Session, connection: Connection, others: Sequence[Connection],
         parts: Sequence[Items]) -> NoReturn:
    """Be a worker: run one part of the tests after the other, in a child of this process, which ends with it.

    others: the connections of pytest's process, which this one has inherited.
    """
    code = 1
    try:
        signal.signal(signal.SIGINT, interrupt_once)
        for other in others:
            other.close()
        leftovers = Leftovers(adopt_orphans())
        try:
            prepare(session, connection, leftovers)
            is_done = run(session, take(connection, parts))
            signal.signal(signal.SIGINT, lambda *_: None)
        except KeyboardInterrupt:
            is_done = False
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        # After an interrupt this call tears down the fixtures.
        find_plugin(session.config, "runner").pytest_sessionfinish(session)
        leftovers.pytest_sessionfinish(session)
        if is_done:
            connection.send(...)
        # pytest removes old temporary folders then.
        atexit._run_exitfuncs()
        code = 0
    except (EOFError, ConnectionError):
        pass  # pytest's process has ended the run
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def interrupt_once(_number: int, _frame: object) -> NoReturn:
    """Raise KeyboardInterrupt, and ignore the next SIGINT. Ctrl-C comes twice, from the terminal and from pytest's
    process; the second must not disturb the teardown.
    """
    signal.signal(signal.SIGINT, lambda *_: None)
    raise KeyboardInterrupt


def prepare(session: pytest.Session, connection: Connection, leftovers: Leftovers) -> None:
    """Silence pytest's plugins in this process, and send their reports to the connection."""
    config = session.config
    plugins = config.pluginmanager
    reporter = find_plugin(config, "terminalreporter")
    plugins.unregister(reporter)
    silent = type(reporter)(config, open(os.devnull, "w"))
    silent.pytest_sessionstart(session)
    plugins.register(silent, "terminalreporter")
    # Otherwise the workers would share the file with the output of a test.
    capture = find_plugin(config, "capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()
    plugins.register(leftovers)
    plugins.register(Sender(config, connection))


def find_plugin(config: pytest.Config, name: str) -> Any:
    """Return one of pytest's own plugins, which have no type annotations."""
    plugin = config.pluginmanager.get_plugin(name)
    assert plugin, f"pytest has no plugin of the name {name}"
    return plugin


def take(connection: Connection, parts: Sequence[Items]) -> Iterator[pytest.Item]:
    """Yield the tests of one part after another, until no part is left."""
    while True:
        connection.send(None)
        number = connection.recv()
        if number is None:
            return
        yield from parts[number]


def run(session: pytest.Session, items: Iterator[pytest.Item]) -> bool:
    """Run tests; return whether all have been run. pytest keeps the fixtures that the next test uses as well."""
    item = next(items, None)
    while item and not session.shouldfail and not session.shouldstop:
        following = next(items, None)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        item = following
    return item is None

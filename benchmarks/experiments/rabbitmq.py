"""Run RabbitMQ's health check in a pod whose PID 1 reaps or does not: count the zombies until no PID is left.

Each run of `rabbitmqctl status` starts helpers that outlive their parents by a moment, so PID 1 adopts them before they
end.
"""

from __future__ import annotations

import os
import tempfile
import textwrap
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Optional

from .. import cgroups
from ..bench import Bench
from ..charts import COUNT, Chart, Point, thin
from ..inits import Init
from ..namespaces import NAMESPACE, StartError
from ..pod import Pod
from ..rabbit import MISSING, Check, Rabbit, find_home
from ..report import Result, format_duration, format_number

NAME = "rabbitmq"
INITS = ("sleep (as pause v3.0)", "pyinit pause", "pyinit lean", "tini", "catatonit -P")
QUICK_INITS = INITS[:2]
INTERVAL = 10.0  # seconds from check to check: the kubelet's default
FAILURES = 3  # checks that must fail one after the other before the kubelet restarts the container: its default
BUDGETS = (1024, 4096, 32768)  # PIDs that a pod or a node may have
LIMIT, QUICK_LIMIT = 300, 80  # PIDs that the pod may have in this experiment
CHECKS, QUICK_CHECKS = 120, 12
RESTART_PATIENCE = 20.0  # seconds for a restarted server to be ready
TELLING = ("fork", "resource", "thread", "eagain")  # words in errors caused by EAGAIN of fork(2) or clone(2)
WIDTH = 140  # the most characters of an error message
QUIET, QUIET_PATIENCE = 0.05, 1.0  # seconds between two counts of the zombies; the most until two are equal


@dataclass
class Outcome:
    """The result of one pod.

    zombies       after each check, how many of each name
    live          the PIDs in use other than zombies, after the first check; None without a budget
    restarted     whether a check succeeded after a restart of the server; None without a restart
    server_said   the output of the restarted server
    """

    init: Init
    checks: list[Check] = field(default_factory=list)
    zombies: list[Counter[str]] = field(default_factory=list)
    live: Optional[int] = None
    restarted: Optional[bool] = None
    server_said: str = ""

    def count_failed(self) -> int:
        """Return how many checks failed."""
        return sum(check.code != 0 for check in self.checks)

    def last(self) -> Counter[str]:
        """Return the zombies after the last check, by name."""
        return self.zombies[-1] if self.zombies else Counter()


def run(bench: Bench) -> Result:
    """Run the checks under each PID 1, one pod after the other."""
    limit, checks = (QUICK_LIMIT, QUICK_CHECKS) if bench.quick else (LIMIT, CHECKS)
    root = cgroups.find_root()
    pod = f"a pod with a budget of {limit} PIDs" if root else "a pod"
    result = Result(NAME, f"`rabbitmqctl status` in {pod}, {checks} times or until {FAILURES} checks fail one after "
                          "the other",
                    ["init", "checks", "failed", "zombies", "zombies / check",
                     *(f"{budget:,} PIDs used up after" for budget in BUDGETS), "result"])
    home = find_home()
    if home is None or bench.mode != NAMESPACE:
        result.note(MISSING if home is None else "not measured: no PID namespace can be made here")
        return result
    chart = Chart("Zombies of RabbitMQ's health check, by the PID 1 of its pod", COUNT, "health checks", "zombies")
    for number, init in enumerate(choose_inits(bench)):
        budget = cgroups.PidBudget(root, f"pod{number}", limit) if root else None
        try:
            outcome = run_pod(bench, init, budget, home, checks)
            add_row(result, outcome, limit if root else None)
            chart.lines[init.name] = draw_checks(outcome)
            chart.limit = chart.limit or draw_failure(outcome, limit)
        except (StartError, OSError) as error:
            result.warn(f"{init.name}: {error}")
    add_notes(result, home, root is not None)
    result.charts.append(chart)
    return result


def choose_inits(bench: Bench) -> list[Init]:
    """Return the installed inits of INITS and the user's own; with --only, exactly those that the user named."""
    names = QUICK_INITS if bench.quick else INITS
    usual = sorted((init for init in bench.inits if init.name in names), key=lambda init: names.index(init.name))
    return bench.inits if bench.only else [*usual, *(init for init in bench.inits if init.given)]


def run_pod(bench: Bench, init: Init, budget: Optional[cgroups.PidBudget], home: str, checks: int) -> Outcome:
    """Run a server and the checks in one pod; if the checks fail, restart the server as the kubelet does.

    Raises StartError, OSError.
    """
    outcome = Outcome(init)
    bench.progress.show(f"{NAME}: {init.name}: starting the server")
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder, Pod(init, budget) as pod:
        rabbit = Rabbit(pod, home, folder)
        if not rabbit.start():
            raise StartError("the server was not ready in time")
        while len(outcome.checks) < checks and not has_failed(outcome.checks):
            outcome.checks.append(rabbit.check())
            outcome.zombies.append(count_settled(pod))
            used = pod.count_pids()
            if outcome.live is None and used is not None:
                outcome.live = used - total(outcome.last())
            show_progress(bench, outcome, used, checks)
        if has_failed(outcome.checks):
            bench.progress.show(f"{NAME}: {init.name}: restarting the server")
            rabbit.stop()
            outcome.restarted = rabbit.start(RESTART_PATIENCE)
            outcome.server_said = rabbit.read_output()
    return outcome


def has_failed(checks: list[Check]) -> bool:
    """Return whether so many checks have failed in a row that the kubelet would restart the container."""
    return len(checks) >= FAILURES and all(check.code for check in checks[-FAILURES:])


def count_settled(pod: Pod) -> Counter[str]:
    """Return the zombies once their number is constant, because the last helpers end after the check itself."""
    deadline = time.monotonic() + QUIET_PATIENCE
    before = pod.count_zombies()
    while True:
        time.sleep(QUIET)
        now = pod.count_zombies()
        if now == before or time.monotonic() > deadline:
            return now
        before = now


def show_progress(bench: Bench, outcome: Outcome, used: Optional[int], checks: int) -> None:
    """Show the progress of a pod in one line."""
    pids = "" if used is None else f", {used} PIDs in use"
    failed = f", {outcome.count_failed()} failed" if outcome.count_failed() else ""
    bench.progress.show(f"{NAME}: {outcome.init.name}: check {len(outcome.checks)} of {checks}{failed}: "
                        f"{describe_zombies(outcome.last())}{pids}")


def total(zombies: Counter[str]) -> int:
    """Return how many zombies there are of all names."""
    return sum(zombies.values())


def describe_zombies(zombies: Counter[str]) -> str:
    """Return how many zombies there are, by name with the most frequent first, as text."""
    if not zombies:
        return "no zombie"
    names = ", ".join(f"{count} {name}" for name, count in zombies.most_common())
    return f"{total(zombies)} zombies ({names})"


def zombies_per_check(totals: list[int]) -> float:
    """Return how many zombies one check leaves, from the total after each check.

    Only the growth after the first check counts: its total includes zombies from the start of the server.
    """
    if len(totals) < 2:
        return float(totals[0]) if totals else 0.0
    return max(0.0, (totals[-1] - totals[0]) / (len(totals) - 1))


def checks_until(budget: int, live: int, zombies: float) -> Optional[int]:
    """Return after how many checks the zombies leave no PID of a budget, or None if they never do.

    live: PIDs in use other than zombies; zombies: how many each check leaves
    """
    return None if zombies <= 0 else max(0, int((budget - live) / zombies))


def show_until(checks: Optional[int]) -> str:
    """Return a number of checks as text, with how long they take at the kubelet's interval."""
    return "never" if checks is None else f"{checks:,} checks, {format_duration(checks * INTERVAL)}"


def add_row(result: Result, outcome: Outcome, limit: Optional[int]) -> None:
    """Add the row of one pod, and notes on its zombies and errors."""
    good = [total(zombies) for zombies, check in zip(outcome.zombies, outcome.checks) if check.code == 0]
    each = zombies_per_check(good)
    until = {budget: checks_until(budget, outcome.live or 0, each) for budget in BUDGETS}
    first = next((number for number, check in enumerate(outcome.checks, 1) if check.code), None)
    said = explain(outcome.checks[first - 1].output) if first else None
    result.rows.append([outcome.init.name, str(len(outcome.checks)), str(outcome.count_failed()),
                        str(total(outcome.last())), format_number(each) if each else "0",
                        *(show_until(until[budget]) for budget in BUDGETS), describe_end(outcome, first)])
    result.data.append({"init": outcome.init.name, "limit": limit, "checks": len(outcome.checks),
                        "failed": outcome.count_failed(), "first_failed": first, "said": said, "live": outcome.live,
                        "zombies": [total(zombies) for zombies in outcome.zombies], "by_name": dict(outcome.last()),
                        "zombies_per_check": each, "restarted": outcome.restarted,
                        "until": {str(budget): count for budget, count in until.items()},
                        "check_seconds": [round(check.seconds, 3) for check in outcome.checks]})
    if outcome.last():
        result.note(f"{outcome.init.name}: {describe_zombies(outcome.last())} at the end")
    if said:
        result.note(f"{outcome.init.name}: check {first} said: {said}")
    if outcome.restarted is False:
        result.note(f"{outcome.init.name}: the restarted server said: {explain(outcome.server_said)}")


def draw_checks(outcome: Outcome) -> list[Point]:
    """Return the line of one pod: its zombies over the checks."""
    return thin([(float(number), float(total(zombies))) for number, zombies in enumerate(outcome.zombies, 1)])


def draw_failure(outcome: Outcome, limit: int) -> Optional[tuple[float, str]]:
    """Return how many zombies there were when a check first failed, and a text for that; None if none failed."""
    for zombies, check in zip(outcome.zombies, outcome.checks):
        if check.code:
            return float(total(zombies)), f"no PID left of {limit}: the health check fails"
    return None


def explain(output: str) -> str:
    """Return the line of an output that explains a failure: the first with a word of TELLING, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in TELLING)]
    return textwrap.shorten((telling or lines[-1:] or ["nothing"])[0], WIDTH)


def describe_end(outcome: Outcome, first: Optional[int]) -> str:
    """Return in a few words what a user of the pod sees. first: the number of the first check that failed, or None."""
    if first is None:
        return "no check failed"
    server = {None: "", True: "; a restart of the server helped", False: "; a restart of the server did not help"}
    return f"check {first} failed{server[outcome.restarted]}"


def add_notes(result: Result, home: str, limited: bool) -> None:
    """Add notes on how the figures were taken. limited: whether the pods had a PID budget."""
    result.notes += [
        f"{os.path.basename(home).replace('_server-', ' ')} as packaged by Debian; server and checks enter the pod's "
        "namespaces from outside, as containers and exec probes of a pod with shareProcessNamespace do",
        "zombies: children of PID 1 that it has not reaped, once their number is constant after a check; those "
        "before the first check are from the start of the server, and from checks until it was ready",
        f"used up after: from the zombies of one check, at {INTERVAL:.0f} s from check to check, for a budget that the "
        "pod has alone",
        f"after {FAILURES} failed checks the server is ended by SIGKILL and started again, as the kubelet restarts a "
        "container"]
    if not limited:
        result.note("no control group with a PID budget can be made here: no budget is run out")


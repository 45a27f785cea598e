"""What every experiment needs: the inits, the storm generator, the tracer, turns, and how one storm is measured."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from collections.abc import Iterator, Sequence
from typing import Optional

from . import generators, namespaces, procfs, reaps
from .generators import Answer
from .identity import HARNESS
from .inits import INIT, PAUSE, SUPERVISOR, Init
from .namespaces import WAITING_MAIN, Running
from .pacing import late_share, latencies_from_plan
from .report import Progress, Result
from .tracing import Tracer

SETTLE = 0.02  # seconds without any CPU use after which an init counts as started


@dataclass
class Storm:
    """A storm that was measured; times in nanoseconds.

    latencies   from the instant an orphan could be reaped until it was reaped, one for each orphan that was measured
    from_plan   from an orphan's planned instant until it was reaped; only for a paced storm with every orphan measured
    answer      what the storm generator answered
    waits       the number of wait calls that the init made
    left        the number of zombies that the init did not reap in time
    most        the largest number of zombies at one instant; None if it is unknown
    by_kernel   whether the kernel frees the orphans while they exit, so that no latency exists
    """

    latencies: list[int]
    from_plan: list[int]
    answer: Answer
    waits: int = 0
    left: int = 0
    most: Optional[int] = None
    by_kernel: bool = False


@dataclass
class Bench:
    """One run of the benchmarks.

    tracer      None if there are no tracepoints
    mode        how inits are started: namespaces.NAMESPACE or SUBREAPER
    how         how reaps are observed: "tracepoints", "pidfd" or "polling"
    quick       whether to make few repetitions
    folder      for temporary files
    python      the interpreter of the launcher, and of bare Python
    only        whether the user named the inits to measure
    name        the comm of the storm generator
    """

    inits: list[Init]
    generator: generators.Generator
    tracer: Optional[Tracer]
    mode: str
    how: str
    quick: bool
    progress: Progress
    folder: str
    python: str
    only: bool = False
    name: str = f"storm-{HARNESS}"

    def reapers(self) -> list[Init]:
        """Return the inits that reap, and the first of them once more as the A/A check."""
        return self.with_check([init for init in self.inits if init.kind in (INIT, SUPERVISOR, PAUSE)])

    def of_kind(self, *kinds: str) -> list[Init]:
        """Return the inits of these kinds."""
        return [init for init in self.inits if init.kind in kinds]

    def with_check(self, inits: Sequence[Init]) -> list[Init]:
        """Return the inits, and the first of them once more as the A/A check."""
        return [*inits, inits[0].repeat()] if inits else []

    def turns(self, count: int, inits: Sequence[Init], title: str) -> Iterator[Init]:
        """Yield the inits in turns, A B C A B C ...: so a change in the machine's load affects all of them alike."""
        for turn in range(count):
            for init in inits:
                self.progress.show(f"{title}: turn {turn + 1} of {count}: {init.name}")
                yield init

    def start(self, init: Init, helper: bool = True, command: Sequence[str] = ()) -> Running:
        """Start an init, and wait until it has settled. Raises StartError.

        The main child of an INIT waits until it is told to exit.

        helper      whether to start a storm generator beside the init
        command     the argv of that generator; the default is storm_command()
        """
        main = WAITING_MAIN if init.kind == INIT else []
        storm = (command or self.storm_command()) if helper else ()
        running = namespaces.start([*init.command, *main], storm, mode=self.mode)
        try:
            if not procfs.wait_settled(running.pid, SETTLE):
                raise namespaces.StartError(f"{init.name} ended, or did not come to rest")
        except BaseException:
            running.kill()
            raise
        return running

    def storm_command(self) -> list[str]:
        """Return the argv of the storm generator: without tracepoints, of the one that measures its own orphans."""
        return self.generator.storm(self.name) if self.tracer else generators.observer(self.name)

    def measure(self, running: Running, command: str, result: Result, who: str, patience: float = 60,
                reaping: float = 10) -> Storm:
        """Make a storm and measure each reap; add a warning to the result for each fault of the data.

        who         names the init in these warnings
        patience    seconds for the storm
        reaping     seconds, after the storm, for the init to reap all orphans
        """
        children = namespaces.adopted_children(running)
        if self.tracer:
            self.tracer.start(running.pid, self.name)
        answer = running.helper.ask(command, patience)
        if command.startswith("paced"):
            answer["rate"] = float(command.split()[1])
        left = namespaces.wait_reaped(running, children, reaping)
        if self.tracer:
            storm = read_trace(self.tracer, answer, result, f"{who}, {command}")
        else:
            storm = Storm(answer.pop("latencies", []), answer.pop("from_plan", []), answer)
        storm.left = left
        if note_kernel_reaping(running, result, who.partition(",")[0]):
            storm = Storm([], [], answer, storm.waits, left, most=0, by_kernel=True)
        check(storm, result, f"{who}, {command}")
        return storm


def read_trace(tracer: Tracer, answer: Answer, result: Result, what: str) -> Storm:
    """Return the storm that the tracer has recorded, and warn if the record is incomplete."""
    matched = reaps.match(tracer.stop())
    if tracer.lost:
        result.warn(f"{what}: the kernel's ring buffer lost {tracer.lost} events; the latencies are incomplete")
    if matched.unmatched:
        result.warn(f"{what}: {matched.unmatched} reaped children were seen without their SIGCHLD, and left out")
    if matched.by_order:
        result.warn(f"{what}: the init uses waitid(2), which the tracepoint shows without a PID; matched in order")
    storm = Storm([reap.latency for reap in matched.reaps], [], answer, matched.waits,
                  most=reaps.count_most(matched.reaps))
    rate = answer.get("rate")
    if rate and len(matched.reaps) == answer["made"] and not answer["refused"]:
        storm.from_plan = latencies_from_plan([(reap.order, reap.gone) for reap in matched.reaps],
                                              answer["start"], rate)
    return storm


def note_kernel_reaping(running: Running, result: Result, name: str) -> bool:
    """Return whether the kernel frees the init's orphans; if it does, add one note to the result."""
    if not procfs.ignores(running.pid, signal.SIGCHLD):
        return False
    result.note(f"{name} ignores SIGCHLD: the kernel frees its orphans while they exit (sigaction(2)), so that they "
                "are never zombies, and there is no latency")
    return True


def check(storm: Storm, result: Result, what: str) -> None:
    """Add a warning to the result for each fault of a storm's data."""
    if storm.left:
        result.warn(f"{what}: {storm.left} zombies were left", f"{what}: left")
    if storm.answer["refused"]:
        result.warn(f"{what}: {storm.answer['refused']} orphans could not be made")
    if len(storm.latencies) != storm.answer["made"] and not storm.by_kernel:
        result.warn(f"{what}: {len(storm.latencies)} of {storm.answer['made']} orphans were measured",
                    f"{what}: measured")
    if late_share(storm.answer) > 0.05:
        result.warn(f"{what}: {late_share(storm.answer):.0%} of the orphans came later than planned, by up to "
                    f"{storm.answer['latest'] / 1e6:.1f} ms: read the figures from the plan", f"{what}: late")

"""The command line: choose experiments and inits, run them, print and write the figures."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

from pyinit.launcher.install import inspect_interpreter
from pyinit.lean import MACHINES
from pyinit.zombies.render.words import parse_number

from . import (generators, inits, machine, namespaces, pidfd, report, saved_run, storm_command, svg, tracing,
               user_namespaces)
from .bench import Bench
from .identity import HARNESS
from .report import Progress, Result

EXPERIMENTS = ("reap", "cost", "scale", "idle", "start", "forward", "memory", "throttle", "incident", "rabbitmq",
               "zombies")
STORM = "storm"
CHOSEN = "the init"  # the name of the user's init in a storm

Head = dict[str, Any]  # the head of the report; every value can be written as JSON
FOLDER_PREFIX = "pyinit-benchmarks-"
STALE = 3600  # seconds: a PID that does not exist here may be that of a harness in another container with the same /tmp
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; return the exit code: 0, 1 for a failure, 130 for an interrupt. argparse exits with 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    catch_signals()
    progress = Progress()
    try:
        if arguments[:1] == [STORM]:
            return run_storm(arguments[1:], progress)
        options = parse(arguments)
        if options.saved:
            write_figures(options.figures, saved_run.read(options.saved))
            return 0
        return run_experiments(options, progress)
    except KeyboardInterrupt:
        progress.clear()
        print("interrupted: everything that was started has been ended", file=sys.stderr)
        return 130
    except (ValueError, namespaces.StartError, OSError) as error:
        progress.clear()
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1


def catch_signals() -> None:
    """Raise KeyboardInterrupt at the first SIGINT, SIGTERM or SIGHUP; later ones must not disturb the clean-up."""

    def interrupt(number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line of a run of experiments. Exits with code 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks", description="Measure pyinit beside every other init that is installed.",
        epilog="python3 -m benchmarks storm --help: the stress test for one init. As root, reaps are seen by the "
               "kernel's tracepoints; without, from a process beside the init.")
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"{', '.join(EXPERIMENTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="in three minutes, and so with more noise")
    parser.add_argument("--init", action="append", default=[], metavar="NAME='CMD ...'",
                        help="one more init: the main child's command is put behind CMD (may be repeated)")
    parser.add_argument("--pause", action="append", default=[], metavar="NAME='CMD ...'",
                        help="one more pause: an init without a main child (may be repeated)")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--svg", metavar="DIR", help="write the pictures to DIR")
    parser.add_argument("--figures", metavar="DIR", help="write pictures, tables and all figures to DIR, where "
                        "those of other experiments stay; docs/figures: replace the tables in the documents, too")
    parser.add_argument("--from", metavar="FILE", dest="saved",
                        help="with --figures: measure nothing, and take the figures from FILE")
    parser.add_argument("--only", metavar="NAME,...", help="only these inits, of those that are found")
    parser.add_argument("--python", metavar="PATH", default=sys.executable,
                        help="the interpreter that pyinit runs under, and bare Python (default: this one)")
    parser.add_argument("--no-trace", action="store_true", help="do without tracepoints, as if not root")
    options = parser.parse_args(arguments)
    if options.saved and not options.figures:
        parser.error(f"--from {options.saved}: expected --figures DIR as well")
    for name in options.experiments:
        if name not in EXPERIMENTS:
            parser.error(f"{name}: no such experiment; expected {', '.join(EXPERIMENTS)} or storm")
    return options


def run_experiments(options: argparse.Namespace, progress: Progress) -> int:
    """Run the experiments, print each as soon as it is done, and return the exit code."""
    began = time.monotonic()
    with open_bench(options.quick, list_extra(options), options.no_trace, options.python, progress) as (bench, why_not):
        select_inits(bench, options.only)
        head = describe(bench, why_not)
        print(render_head(head), flush=True)
        results = []
        for name in options.experiments or EXPERIMENTS:
            results.append(run_one(name, bench))
            progress.clear()
            print(report.render(results[-1]), flush=True)
            keep(options, saved_run.save(head, results))
        print(f"Took {time.monotonic() - began:.0f} s.")
        if options.svg:
            write_charts(options.svg, results)
        if options.figures:
            write_figures(options.figures, saved_run.save(head, results))
    return 0


def keep(options: argparse.Namespace, content: dict[str, Any]) -> None:
    """Write the figures after each experiment: a run takes half an hour, and may be interrupted or fail at its end."""
    if options.json:
        saved_run.write(options.json, content)
    if options.figures:
        saved_run.keep(options.figures, content)


def write_figures(folder: str, content: dict[str, Any]) -> None:
    """Write figures, pictures and tables to a folder, and print the paths of the files. Raises OSError, ValueError."""
    for path in saved_run.write_figures(folder, content):
        print(f"wrote {os.path.relpath(path)}")


def list_extra(options: argparse.Namespace) -> list[inits.Init]:
    """Return the inits of --init and --pause. Raises ValueError."""
    return [inits.parse_extra(text, inits.INIT) for text in options.init] \
        + [inits.parse_extra(text, inits.PAUSE) for text in options.pause]


def run_one(name: str, bench: Bench) -> Result:
    """Run one experiment; add a warning if the hypervisor gave more than 1 % of the CPU time to other machines."""
    steal = machine.StealWatch()
    result: Result = importlib.import_module(f".experiments.{name}", __package__).run(bench)
    if steal.share() > 0.01:
        result.warn(f"the hypervisor took {steal.share():.1%} of the CPU time away meanwhile (steal)")
    return result


@contextmanager
def open_bench(quick: bool, extra: Sequence[inits.Init], no_trace: bool, python: str,
               progress: Progress) -> Iterator[tuple[Bench, str]]:
    """Yield the bench, and the reason if there are no tracepoints, or "". Afterwards remove everything made for it."""
    remove_stale_folders()
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER_PREFIX}{HARNESS}-") as folder:
        launcher, pause = (write_launcher(f"{folder}/{name}", python) for name in ("pyinit", "pause"))
        lean, lean_init = write_lean("pause", f"{folder}/lean"), write_lean("init", f"{folder}/lean-init")
        os.chmod(folder, 0o755)
        os.mkdir(f"{folder}/services")
        places = {"pyinit": launcher, "pause": pause, "lean": lean, "lean_init": lean_init,
                  "folder": f"{folder}/services"}
        found = inits.find_inits(places, extra)
        generator = generators.build(folder)
        mode = user_namespaces.find_mode()
        tracer, why_not = (None, "--no-trace") if no_trace else tracing.open_tracer()
        try:
            how = "tracepoints" if tracer else pidfd.find_method()
            # A launcher written for a virtual environment's interpreter runs the base one.
            interpreter = inspect_interpreter(python).path
            yield Bench(found, generator, tracer, mode, how, quick, progress, folder, interpreter), why_not
        finally:
            if tracer:
                tracer.__exit__()


def remove_stale_folders() -> None:
    """Remove the folders of a harness that SIGKILL ended: old ones of this user, with a PID that no longer exists."""
    for name in os.listdir(tempfile.gettempdir()):
        owner = name[len(FOLDER_PREFIX):].partition("-")[0]
        path = os.path.join(tempfile.gettempdir(), name)
        if name.startswith(FOLDER_PREFIX) and owner.isdigit() and not os.path.exists(f"/proc/{owner}") \
                and os.lstat(path).st_uid == os.geteuid() and os.lstat(path).st_mtime < time.time() - STALE:
            shutil.rmtree(path, ignore_errors=True)


def write_launcher(launcher: str, python: str) -> str:
    """Write a launcher of this checkout; its base name chooses the personality. Return its path. Raises ValueError."""
    return write("pyinit.launcher", "--python", python, launcher)


def write_lean(program: str, path: str) -> str:
    """Write a lean program of this checkout if this machine can run it; return `path` either way. Raises ValueError."""
    return write("pyinit.lean", program, path) if os.uname().machine in MACHINES else path


def write(module: str, *arguments: str) -> str:
    """Run one of pyinit's tools, which writes a program to the path that is its last argument; return that path.

    Raises ValueError if the tool fails.
    """
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, timeout=60,
                          check=False)
    if done.returncode:
        raise ValueError(f"cannot write {arguments[-1]}: {done.stderr.decode(errors='replace').strip()}")
    return arguments[-1]


def select_inits(bench: Bench, only: Optional[str]) -> None:
    """Keep only the inits that --only names. Raises ValueError for a name that was not found."""
    if only is None:
        return
    wanted = only.split(",")
    unknown = set(wanted) - {init.name for init in bench.inits}
    if unknown:
        raise ValueError(f"--only: {', '.join(sorted(unknown))} not found; expected some of "
                         f"{', '.join(init.name for init in bench.inits)}")
    bench.inits, bench.only = [init for init in bench.inits if init.name in wanted], True


def describe(bench: Bench, why_not: str) -> Head:
    """Return the head of the report: the machine, the inits, and how they are measured."""
    head: Head = {"machine": {**machine.describe(), "python": machine.describe_python(bench.python)},
                  "quick": bench.quick, "mode": bench.mode, "how": bench.how,
                  "why_no_tracepoints": why_not, "generator": bench.generator.description,
                  "priority": machine.describe_priority(),
                  "command": shlex.join(["python3", "-m", "benchmarks", *sys.argv[1:]]),
                  "inits": {init.name: {"version": init.version, "command": hide(init.command, bench.folder)}
                            for init in bench.inits}}
    head["busy"] = machine.measure_busy()
    return head


def hide(command: Sequence[str], folder: str) -> list[str]:
    """Return a command without the temporary folder of this run, which means nothing to a reader of the figures."""
    return [word.replace(f"{folder}/", "") for word in command]


def render_head(head: Head) -> str:
    """Return the head as text."""
    lines = ["# pyinit benchmarks", "", f"    {head['command']}", ""]
    lines += [f"- {name}: {value}" for name, value in head["machine"].items()]
    lines += [f"- {name}: {init['version']}" for name, init in head["inits"].items()]
    lines.append(f"- storms by: {head['generator']}")
    mode = "PID 1 of its own PID namespace" if head["mode"] == namespaces.NAMESPACE else head["mode"]
    lines.append(f"- each init is: {mode}")
    lines.append(f"- reaps are seen by: {head['how']}"
                 + (f" (no tracepoints: {head['why_no_tracepoints']})" if head["why_no_tracepoints"] else ""))
    if head["priority"]:
        lines.append(f"- priority: {head['priority']}")
    if head["busy"] > machine.BUSY:
        lines.append(f"- WARNING: others use {head['busy']:.0%} of the CPU time: the figures are worth little")
    if head["quick"]:
        lines.append("- quick: few repetitions, so much noise")
    return "\n".join(lines) + "\n"


def write_charts(folder: str, results: list[Result]) -> None:
    """Write a picture for each chart of each experiment, and print the paths. Raises OSError."""
    os.makedirs(folder, exist_ok=True)
    for result in results:
        for chart in result.charts:
            name = re.sub(r"[^a-z0-9]+", "-", re.sub("[,']", "", chart.title).lower()).strip("-")
            path = os.path.join(folder, f"{name}.svg")
            with open(path, "w", encoding="utf-8") as file:
                file.write(svg.draw(chart))
            print(f"wrote {path}")


def run_storm(arguments: Sequence[str], progress: Progress) -> int:
    """Run `storm`, the stress test for one init; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks storm", description="Storm one init with orphans and see that it reaps them all.",
        epilog="exit code: 0 all orphans were reaped in time; 1 the init is wrong, or could not be started; 2 the "
               "command line is wrong; 3 it could not be judged")
    parser.add_argument("--init", metavar="'CMD ...'", type=command, help="the init; the main child's "
                        "command is put behind it (default: this checkout's pyinit)")
    parser.add_argument("--pause", action="store_true", help="it is a pause: an init without a main child")
    parser.add_argument("--rate", type=number(0, 1e6), default=1000.0,
                        help="orphans a second; 0: as many as can be made")
    parser.add_argument("--seconds", type=number(0.01, 86400), default=10.0)
    parser.add_argument("--within", type=number(0.0001, 3600), default=0.5, metavar="SECONDS",
                        help="how long a zombie may wait until it is reaped (default: 0.5)")
    options = parser.parse_args(arguments)
    extra = [inits.Init(CHOSEN, inits.PAUSE if options.pause else inits.INIT, options.init)] if options.init else []
    with open_bench(False, extra, False, sys.executable, progress) as (bench, _):
        name = CHOSEN if extra else "pyinit pause" if options.pause else "pyinit"
        init = next(init for init in bench.inits if init.name == name)
        return storm_command.run(bench, init, options.rate, options.seconds, options.within)


def command(text: str) -> list[str]:
    """Parse a command line, as an argparse converter. Raises ArgumentTypeError, which names what was expected."""
    try:
        return inits.parse_command(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def number(least: float, most: float) -> Callable[[str], float]:
    """Return an argparse converter for a decimal number within these bounds; its error names them."""
    def convert(text: str) -> float:
        try:
            value = parse_number(text)
        except ValueError:
            value = -1.0
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a number from {least:.15g} to {most:.15g}")
        return value
    return convert

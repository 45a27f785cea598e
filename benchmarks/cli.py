"""The command line: which experiments, for which inits, and where the figures go."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import Callable, Iterator, Optional, Sequence

from pyinit.lean import MACHINES
from pyinit.zombies.render.words import parse_number

from . import generators, inits, machine, namespaces, pidfd, report, storm_command, svg, tracing
from .bench import Bench
from .identity import HARNESS
from .report import Progress, Result

EXPERIMENTS = ("reap", "cost", "scale", "idle", "start", "forward", "memory", "throttle", "incident", "zombies")
STORM = "storm"
FOLDER_PREFIX = "pyinit-benchmarks-"
STALE = 3600  # seconds: a PID that is not seen here may live in another container with the same /tmp
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run what the command line asks for; return the exit code: 0, 1 when it failed, 2 for usage, 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    catch_signals()
    progress = Progress()
    try:
        if arguments[:1] == [STORM]:
            return run_storm(arguments[1:], progress)
        return run_experiments(parse(arguments), progress)
    except KeyboardInterrupt:
        progress.clear()
        print("interrupted: everything that was started has been ended", file=sys.stderr)
        return 130
    except (ValueError, namespaces.StartError, OSError) as error:
        progress.clear()
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1


def catch_signals() -> None:
    """The first SIGINT, SIGTERM or SIGHUP ends cleanly; further ones must not disturb the cleaning up."""

    def interrupt(number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of a run of experiments."""
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks", description="Measure pyinit beside every other init that is installed.",
        epilog="python3 -m benchmarks storm --help: the stress test for one init. As root, reaps are seen by the "
               "kernel's tracepoints; without, from a process beside the init.")
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"{', '.join(EXPERIMENTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="within two minutes, and so with more noise")
    parser.add_argument("--init", action="append", default=[], metavar="NAME='CMD ...'",
                        help="one more init: the main child's command is put behind CMD (may be repeated)")
    parser.add_argument("--pause", action="append", default=[], metavar="NAME='CMD ...'",
                        help="one more pause: an init without a main child (may be repeated)")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--svg", metavar="DIR", help="write the latency curves to DIR")
    parser.add_argument("--only", metavar="NAME,...", help="only these inits, of those that are found")
    parser.add_argument("--python", metavar="PATH", default=sys.executable,
                        help="the interpreter that pyinit runs under, and bare Python (default: this one)")
    parser.add_argument("--no-trace", action="store_true", help="do without tracepoints, as if not root")
    options = parser.parse_args(arguments)
    for name in options.experiments:
        if name not in EXPERIMENTS:
            parser.error(f"{name}: no such experiment; expected {', '.join(EXPERIMENTS)} or storm")
    return options


def run_experiments(options: argparse.Namespace, progress: Progress) -> int:
    """Run the experiments and print each as soon as it is done; return the exit code."""
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
        print(f"Took {time.monotonic() - began:.0f} s.")
        if options.json:
            write_json(options.json, head, results)
        if options.svg:
            write_curves(options.svg, results)
    return 0


def list_extra(options: argparse.Namespace) -> list[inits.Init]:
    """The user's own inits and pauses. Raises ValueError."""
    return [inits.parse_extra(text, inits.INIT) for text in options.init] \
        + [inits.parse_extra(text, inits.PAUSE) for text in options.pause]


def run_one(name: str, bench: Bench) -> Result:
    """One experiment, with a warning if the machine's host took CPU from it."""
    steal = machine.StealWatch()
    result = importlib.import_module(f".experiments.{name}", __package__).run(bench)
    if steal.share() > 0.01:
        result.warn(f"the hypervisor took {steal.share():.1%} of the CPU time away meanwhile (steal)")
    return result


@contextmanager
def open_bench(quick: bool, extra: Sequence[inits.Init], no_trace: bool, python: str,
               progress: Progress) -> Iterator[tuple[Bench, str]]:
    """Everything that experiments need, and why there are no tracepoints; all of it is gone afterwards."""
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
        mode = namespaces.find_mode()
        tracer, why_not = (None, "--no-trace") if no_trace else tracing.open_tracer()
        try:
            how = "tracepoints" if tracer else pidfd.find_method()
            interpreter = machine.find_interpreter(launcher)
            yield Bench(found, generator, tracer, mode, how, quick, progress, folder, interpreter), why_not
        finally:
            if tracer:
                tracer.__exit__()


def remove_stale_folders() -> None:
    """Remove what a harness left that was killed by SIGKILL: this user's old folders whose PID is gone."""
    for name in os.listdir(tempfile.gettempdir()):
        owner = name[len(FOLDER_PREFIX):].partition("-")[0]
        path = os.path.join(tempfile.gettempdir(), name)
        if name.startswith(FOLDER_PREFIX) and owner.isdigit() and not os.path.exists(f"/proc/{owner}") \
                and os.lstat(path).st_uid == os.geteuid() and os.lstat(path).st_mtime < time.time() - STALE:
            shutil.rmtree(path, ignore_errors=True)


def write_launcher(launcher: str, python: str) -> str:
    """Write a fresh launcher for this checkout's pyinit, which its base name makes what it is; return its path."""
    return write("pyinit.launcher", "--python", python, launcher)


def write_lean(program: str, path: str) -> str:
    """Write a fresh lean program of this checkout where there is one for this machine; return its path."""
    return write("pyinit.lean", program, path) if os.uname().machine in MACHINES else path


def write(module: str, *arguments: str) -> str:
    """Have one of pyinit's tools write a program at the path that is its last argument; return that. Raises ValueError.
    """
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, timeout=60,
                          check=False)
    if done.returncode:
        raise ValueError(f"cannot write {arguments[-1]}: {done.stderr.decode(errors='replace').strip()}")
    return arguments[-1]


def select_inits(bench: Bench, only: Optional[str]) -> None:
    """Keep the inits that were named. Raises ValueError."""
    if only is None:
        return
    wanted = only.split(",")
    unknown = set(wanted) - {init.name for init in bench.inits}
    if unknown:
        raise ValueError(f"--only: {', '.join(sorted(unknown))} not found; expected some of "
                         f"{', '.join(init.name for init in bench.inits)}")
    bench.inits = [init for init in bench.inits if init.name in wanted]


def describe(bench: Bench, why_not: str) -> dict:
    """The head of the report: the machine, the inits, and how it is measured."""
    head: dict = {"machine": {**machine.describe(), "python": machine.describe_python(bench.python)},
                  "quick": bench.quick, "mode": bench.mode, "how": bench.how,
                  "why_no_tracepoints": why_not, "generator": bench.generator.description,
                  "command": " ".join(["python3", "-m", "benchmarks", *sys.argv[1:]]),
                  "inits": {init.name: {"version": init.version, "command": init.command} for init in bench.inits}}
    head["busy"] = machine.measure_busy()
    return head


def render_head(head: dict) -> str:
    """The head as text."""
    lines = ["# pyinit benchmarks", "", f"    {head['command']}", ""]
    lines += [f"- {name}: {value}" for name, value in head["machine"].items()]
    lines += [f"- {name}: {init['version']}" for name, init in head["inits"].items()]
    lines.append(f"- storms by: {head['generator']}")
    mode = "PID 1 of its own PID namespace" if head["mode"] == namespaces.NAMESPACE else head["mode"]
    lines.append(f"- each init is: {mode}")
    lines.append(f"- reaps are seen by: {head['how']}"
                 + (f" (no tracepoints: {head['why_no_tracepoints']})" if head["why_no_tracepoints"] else ""))
    if head["busy"] > machine.BUSY:
        lines.append(f"- WARNING: others use {head['busy']:.0%} of the CPU time: the figures are worth little")
    if head["quick"]:
        lines.append("- quick: few repetitions, so much noise")
    return "\n".join(lines) + "\n"


def write_json(path: str, head: dict, results: list[Result]) -> None:
    """All figures; the curves' single values stay out."""
    experiments = []
    for result in results:
        fields = asdict(result)
        for name in ("curves", "repeats", "first"):
            del fields[name]
        experiments.append(fields)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**head, "experiments": experiments}, file, indent=1)
        file.write("\n")


def write_curves(folder: str, results: list[Result]) -> None:
    """One picture for each chart of each experiment."""
    os.makedirs(folder, exist_ok=True)
    for result in results:
        for title, lines in result.curves.items():
            name = re.sub(r"[^a-z0-9]+", "-", title.replace(",", "").lower()).strip("-")
            path = os.path.join(folder, f"{name}.svg")
            with open(path, "w", encoding="utf-8") as file:
                file.write(svg.draw(title, lines))
            print(f"wrote {path}")


def run_storm(arguments: Sequence[str], progress: Progress) -> int:
    """`storm`: the stress test for one init."""
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks storm", description="Storm one init with orphans and see that it reaps them all.",
        epilog="The exit code is 1 if a zombie is left or the main child's exit code is lost.")
    parser.add_argument("--init", metavar="'CMD ...'", type=command, help="the init; the main child's "
                        "command is put behind it (default: this checkout's pyinit)")
    parser.add_argument("--pause", action="store_true", help="it is a pause: an init without a main child")
    parser.add_argument("--rate", type=number(0, 1e6), default=1000.0,
                        help="orphans a second; 0: as many as can be made")
    parser.add_argument("--seconds", type=number(0.01, 86400), default=10.0)
    options = parser.parse_args(arguments)
    extra = [inits.Init("chosen", inits.PAUSE if options.pause else inits.INIT, options.init)] if options.init else []
    with open_bench(False, extra, False, sys.executable, progress) as (bench, _):
        name = "chosen" if extra else "pyinit pause" if options.pause else "pyinit"
        init = next(init for init in bench.inits if init.name == name)
        return storm_command.run(bench, init, options.rate, options.seconds)


def command(text: str) -> list[str]:
    """A converter for argparse that takes a command line, and names what it expects."""
    try:
        return inits.parse_command(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def number(least: float, most: float) -> Callable[[str], float]:
    """Return a converter for argparse that takes a decimal number in these bounds, and names what it expects."""
    def convert(text: str) -> float:
        try:
            value = parse_number(text)
        except ValueError:
            value = -1.0
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a number from {least:.15g} to {most:.15g}")
        return value
    return convert

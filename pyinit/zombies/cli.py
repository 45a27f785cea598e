"""`python3 -m pyinit.zombies`, `pyinit-zombies`: the command line, the samples, and where the report goes."""

from __future__ import annotations

import _signal

# Until main() has begun nobody could catch CPython's KeyboardInterrupt. Who was started with SIGINT ignored ignores it.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import argparse  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator, Sequence  # noqa: E402
from typing import NoReturn, Optional  # noqa: E402

from .. import __version__  # noqa: E402
from ..destination import ToolError, write_file  # noqa: E402
from .render.as_json import format_json  # noqa: E402
from .analyse.budgets import list_cgroups  # noqa: E402
from .collect.cgroupfs import read_limits  # noqa: E402
from .render.check import OK, UNKNOWN, Thresholds, judge, status_line  # noqa: E402
from .render.exposition import format_metrics  # noqa: E402
from .analyse.report import Report, make_report  # noqa: E402
from .collect.snapshot import Snapshot, read_command, take_snapshot  # noqa: E402
from .render.table import format_report  # noqa: E402
from .render.words import parse_count, parse_duration  # noqa: E402

NAME = "pyinit-zombies"

EPILOG = """\
Exit codes, as monitoring plugins have them: 0 below all thresholds, 1 a warning, 2 critical, 3 no report could be made.
A DURATION is a number of seconds, or as in 90s, 30m, 6h, 1h30m, 2d.
"""

# No interval, threshold or number of samples is as large.
MOST = 10 ** 9

CGROUP = "/sys/fs/cgroup"


class Ended(BaseException):
    """SIGINT or SIGTERM."""


class Failure(Exception):
    """No report can be made; the text names the input and what was expected."""


class Parser(argparse.ArgumentParser):
    """Wrong options are no verdict on zombies: exit code 3, where argparse has 2, which is critical."""

    def error(self, message: str) -> NoReturn:
        print(f"{NAME}: {message}; see --help", file=sys.stderr)
        sys.exit(UNKNOWN)


def parse_arguments(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """The command line; ends the process with 3 when it is wrong."""
    parser = Parser(prog=NAME, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
                    description="Whose zombies, who must reap them, how long until no PID is left. "
                    "Reads /proc and cgroups, changes nothing, sends nothing.")
    parser.add_argument("--proc", metavar="DIR", default="/proc", help="the /proc to read: a host's, mounted elsewhere")
    parser.add_argument("--cgroup", metavar="DIR", help=f"the same for {CGROUP}")
    parser.add_argument("--watch", metavar="SECONDS", type=positive(parse_duration, "a duration above 0"),
                        help="a sample each so many seconds, and a report from each but the first, with the growth "
                        "between two; until SIGINT or SIGTERM")
    parser.add_argument("--samples", metavar="N", type=positive(parse_count, "a number from 1 on"),
                        help="end after so many samples; 2 or more need --watch")
    parser.add_argument("--tree", action="store_true", help="show the parents up to PID 1")
    parser.add_argument("--top", metavar="N", type=positive(parse_count, "a number of groups from 1 on"), default=50,
                        help="name the N groups with the most zombies (default: %(default)s)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one line of JSON a report")
    form.add_argument("--prometheus", action="store_true", help="metrics, for node_exporter's textfile collector")
    parser.add_argument("--output", metavar="FILE", help="write each report to FILE, whole or not at all")
    for level in ("warn", "critical"):
        parser.add_argument(f"--{level}", metavar="N", type=positive(parse_count, "a number of zombies from 1 on"),
                            help=f"{level} from so many zombies on")
        parser.add_argument(f"--{level}-time", metavar="DURATION", type=positive(parse_duration, "such as 30m or 6h"),
                            help=f"{level} when a limit on PIDs is so near, or nearer")
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    arguments = parser.parse_args(argv)
    if arguments.samples and arguments.samples > 1 and not arguments.watch:
        parser.error(f"argument --samples: {arguments.samples} samples need --watch, the time between two")
    if arguments.samples == 1 and arguments.watch:
        parser.error("argument --samples: 1 sample has nothing to be compared with; expected 2 or more with --watch")
    if arguments.warn and arguments.critical and arguments.warn > arguments.critical:
        parser.error(f"argument --critical: {arguments.critical} comes before --warn {arguments.warn}")
    if arguments.warn_time and arguments.critical_time and arguments.warn_time < arguments.critical_time:
        parser.error("argument --critical-time: comes before --warn-time; expected the shorter time")
    return arguments


def check_paths(arguments: argparse.Namespace) -> None:
    """Raise Failure for what is there and is something else than was meant, or is not there."""
    if arguments.cgroup and not os.path.isdir(arguments.cgroup):
        raise Failure(f"--cgroup {arguments.cgroup}: is no folder; expected that of a cgroup file system")
    if arguments.output and os.path.exists(arguments.output) and not os.path.isfile(arguments.output):
        raise Failure(f"--output {arguments.output}: is no file; expected the path of one")


def positive(parse: Callable[[str], float], expected: str) -> Callable[[str], float]:
    """A converter for argparse that says what was expected."""
    def convert(text: str) -> float:
        try:
            number = parse(text)
        except ValueError:
            number = 0
        if not 0 < number <= MOST:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
        return number
    return convert


def make_reports(arguments: argparse.Namespace) -> Iterator[tuple[Report, float]]:
    """Each report, and how many seconds it took. Raises Failure."""
    if not arguments.watch:
        yield report_on(arguments, None)
        return
    before = sample(arguments.proc)
    taken = 1
    while taken != arguments.samples:
        time.sleep(max(0.0, before.clock + arguments.watch - time.monotonic()))
        report, seconds = report_on(arguments, before)
        yield report, seconds
        before = report.snapshot
        taken += 1


def report_on(arguments: argparse.Namespace, before: Optional[Snapshot]) -> tuple[Report, float]:
    """A report on a sample taken now, and how many seconds it took."""
    start = time.monotonic()
    now = sample(arguments.proc)
    # Also the cgroups that have no zombie any more: their growth is below 0.
    limits, unread = read_limits(arguments.cgroup or CGROUP, list_cgroups(now, before))
    report = make_report(now, before, limits, arguments.top, unread)
    return report, time.monotonic() - start


def sample(proc: str) -> Snapshot:
    """A sample. Raises Failure when it is of no /proc."""
    try:
        return take_snapshot(proc)
    except OSError as error:
        raise Failure(f"--proc {proc}: {error.strerror}; expected a mounted /proc") from None
    except ValueError:
        raise Failure(f"--proc {proc}: has no processes; expected a mounted /proc") from None


def render(report: Report, seconds: float, arguments: argparse.Namespace) -> str:
    """The report in the form that was asked for."""
    if arguments.prometheus:
        return format_metrics(report, seconds)
    commands = {process.pid: read_command(arguments.proc, process)
                for group in report.groups for process in group.chain}
    if arguments.json:
        return format_json(report, commands)
    on_terminal = not arguments.output and sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else None
    colour = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return format_report(report, commands, width, arguments.tree, colour)


def run(arguments: argparse.Namespace) -> int:
    """Make the reports and return the exit code of the last. Raises Failure, ToolError, OSError."""
    thresholds = Thresholds(arguments.warn, arguments.critical, arguments.warn_time, arguments.critical_time)
    is_check = any(threshold is not None for threshold in thresholds)
    code = UNKNOWN if is_check else OK
    try:
        for number, (report, seconds) in enumerate(make_reports(arguments)):
            text = render(report, seconds, arguments)
            is_table = not (arguments.json or arguments.prometheus)
            if is_check:
                code = judge(report, thresholds)
            # A check's first line is its verdict, wherever that breaks no format.
            if is_check and (arguments.output or is_table):
                write_out(status_line(report, thresholds) + "\n")
            if arguments.output:
                write_file(os.path.realpath(arguments.output), text.encode("utf-8", "backslashreplace"), 0o644)
            else:
                write_out("\n" * (is_table and number > 0) + text)
    except Ended as ended:
        drop_output()
        # Which is how a watch ends.
        return code if arguments.watch else 128 + ended.args[0]
    return code


def write_out(text: str) -> None:
    """Write to stdout at once. Raises OSError, Failure."""
    if sys.stdout is None:
        raise Failure("stdout is closed; expected it to be open, or --output FILE")
    sys.stdout.write(text)
    sys.stdout.flush()


def drop_output() -> None:
    """Have what is left in the buffer of stdout written to nowhere: CPython writes it at exit, where a pipe without a
    reader fails once more, and a full one keeps the process from ending.
    """
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def end(number: int, _frame: object) -> NoReturn:
    """Have a signal end what goes on, wherever that is."""
    raise Ended(number)


def main() -> int:
    """The command line; returns the exit code."""
    arguments = parse_arguments()
    if sys.stdout is not None:
        # Metrics are UTF-8 by their definition; a table is what the terminal can show.
        encoding = "utf-8" if arguments.prometheus else None
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, end)
        check_paths(arguments)
        return run(arguments)
    except (Failure, ToolError) as error:
        message = str(error)
    except BrokenPipeError:
        drop_output()  # whoever reads has enough
        return UNKNOWN
    except OSError as error:
        message = f"cannot write the report: {error}"
    except Ended as ended:
        return 128 + int(ended.args[0])
    except Exception as error:
        message = f"unexpected {error!r}"
    print(f"{NAME}: {message}", file=sys.stderr)
    return UNKNOWN

"""`python3 -m pyinit.zombies`, `pyinit-zombies`: parse the command line, take samples, and write the report."""

from __future__ import annotations

import _signal

# Before main() nothing catches CPython's KeyboardInterrupt, so SIGINT ends the process. If the caller has set SIGINT to
# be ignored, it stays ignored.
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
from ..destination import ToolError, follow_links, write_file  # noqa: E402
from .render.as_json import format_json  # noqa: E402
from .analyse.budgets import list_cgroups  # noqa: E402
from .collect.cgroupfs import read_limits  # noqa: E402
from .render.check import CRITICAL, OK, UNKNOWN, Thresholds, judge, status_line  # noqa: E402
from .render.exposition import format_metrics  # noqa: E402
from .analyse.report import Report, make_report  # noqa: E402
from .analyse.verdicts import explain_probe  # noqa: E402
from .collect.probe import SECONDS, ProbeError, probe  # noqa: E402
from .collect.snapshot import Snapshot, read_command, take_snapshot  # noqa: E402
from .render.table import format_report  # noqa: E402
from .render.words import parse_count, parse_duration, printable  # noqa: E402

NAME = "pyinit-zombies"

EPILOG = """\
Exit codes, as monitoring plugins have them: 0 below all thresholds, 1 a warning, 2 critical, 3 no report could be made.
A DURATION is a number of seconds, or as in 90s, 30m, 6h, 1h30m, 2d.
"""

# The largest interval, threshold or number of samples that is accepted.
MOST = 10 ** 9

CGROUP = "/sys/fs/cgroup"

# The signals that end a watch.
ENDING = (signal.SIGINT, signal.SIGTERM)


class Ended(BaseException):
    """SIGINT or SIGTERM has arrived; the argument is its number."""


class Failure(Exception):
    """No report can be made; the text names the input and what was expected."""


class Parser(argparse.ArgumentParser):
    """A parser that exits with 3 for wrong options. argparse's 2 would mean critical, a verdict on zombies."""

    def error(self, message: str) -> NoReturn:
        """Print the message in one line and exit."""
        print(f"{NAME}: {message}; see --help", file=sys.stderr)
        sys.exit(UNKNOWN)


def parse_arguments(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Parse the command line. End the process with 3 if it is wrong."""
    parser = Parser(prog=NAME, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
                    description="Whose zombies, who must reap them, how long until no PID is left. "
                    "Reads /proc and cgroups, changes nothing, sends nothing; only --probe starts processes.")
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
    parser.add_argument("--probe", action="store_true",
                        help=f"make no report, but an orphan: say in one line which process adopts it, and whether it "
                        f"is reaped within {SECONDS:g} seconds; exit code 0 if it is, 2 if not, 3 if that is unknown")
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    arguments = parser.parse_args(argv)
    check_combination(parser, arguments, len(sys.argv[1:] if argv is None else argv))
    return arguments


def check_combination(parser: Parser, arguments: argparse.Namespace, count: int) -> None:
    """End the process with 3 if the options do not fit together. count: the number of arguments in argv."""
    if arguments.probe and count > 1:
        parser.error("argument --probe: expected without any other option")
    if arguments.samples and arguments.samples > 1 and not arguments.watch:
        parser.error(f"argument --samples: {arguments.samples} samples need --watch, the time between two")
    if arguments.samples == 1 and arguments.watch:
        parser.error("argument --samples: 1 sample has nothing to be compared with; expected 2 or more with --watch")
    if arguments.warn and arguments.critical and arguments.warn > arguments.critical:
        parser.error(f"argument --critical: {arguments.critical} comes before --warn {arguments.warn}")
    if arguments.warn_time and arguments.critical_time and arguments.warn_time < arguments.critical_time:
        parser.error("argument --critical-time: comes before --warn-time; expected the shorter time")


def check_paths(arguments: argparse.Namespace) -> None:
    """Raise Failure if --cgroup is no folder, or if --output exists and is no file. Raises ToolError if follow_links()
    refuses it, and OSError.
    """
    if arguments.cgroup and not os.path.isdir(arguments.cgroup):
        raise Failure(f"--cgroup {arguments.cgroup}: is no folder; expected that of a cgroup file system")
    path = follow_links(arguments.output) if arguments.output else ""
    if os.path.exists(path) and not os.path.isfile(path):
        raise Failure(f"--output {arguments.output}: is no file; expected the path of one")


def positive(parse: Callable[[str], float], expected: str) -> Callable[[str], float]:
    """Return a converter for argparse that accepts numbers above 0 up to MOST, and else says what was expected."""
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
    """Yield each report, and how many seconds it took. Raises Failure."""
    if not arguments.watch:
        yield report_on(arguments, None)
        return
    before = sample(arguments.proc)
    taken = 1
    while taken != arguments.samples:
        sleep(max(0.0, before.clock + arguments.watch - time.monotonic()))
        report, seconds = report_on(arguments, before)
        yield report, seconds
        before = report.snapshot
        taken += 1


def report_on(arguments: argparse.Namespace, before: Optional[Snapshot]) -> tuple[Report, float]:
    """Take a sample; return the report on it, and how many seconds both took. Raises Failure."""
    start = time.monotonic()
    now = sample(arguments.proc)
    # Include cgroups that had zombies before and have none now: their growth is 0 or below.
    limits, unread = read_limits(arguments.cgroup or CGROUP, list_cgroups(now, before))
    report = make_report(now, before, limits, arguments.top, unread)
    return report, time.monotonic() - start


def sample(proc: str) -> Snapshot:
    """Take a sample. Raises Failure if `proc` is no /proc."""
    try:
        return take_snapshot(proc)
    except OSError as error:
        raise Failure(f"--proc {proc}: {error.strerror}; expected a mounted /proc") from None
    except ValueError:
        raise Failure(f"--proc {proc}: has no processes; expected a mounted /proc") from None


def render(report: Report, seconds: float, arguments: argparse.Namespace) -> str:
    """Return the report in the format that the options ask for."""
    on_terminal = not arguments.output and sys.stdout is not None and sys.stdout.isatty()
    if arguments.prometheus:
        text = format_metrics(report, seconds)
        # The format allows escape sequences in a label, as in the name of a process. Keep them from a terminal.
        return "\n".join(map(printable, text.split("\n"))) if on_terminal else text
    commands = {process.pid: read_command(arguments.proc, process)
                for group in report.groups for process in group.chain}
    if arguments.json:
        return format_json(report, commands)
    width = shutil.get_terminal_size().columns if on_terminal else None
    colour = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return format_report(report, commands, width, arguments.tree, colour)


def run(arguments: argparse.Namespace) -> int:
    """Make the reports and return the exit code of the last. Raises Failure, ToolError, OSError."""
    thresholds = Thresholds(arguments.warn, arguments.critical, arguments.warn_time, arguments.critical_time)
    is_check = any(threshold is not None for threshold in thresholds)
    code = UNKNOWN if is_check else OK
    try:
        catch_signals()
        for number, (report, seconds) in enumerate(make_reports(arguments)):
            text = render(report, seconds, arguments)
            is_table = not (arguments.json or arguments.prometheus)
            if is_check:
                code = judge(report, thresholds)
            # The verdict of a check is the first line, except on a stdout that carries JSON or metrics.
            if is_check and (arguments.output or is_table):
                write_out(status_line(report, thresholds) + "\n")
            if arguments.output:
                # Follow links each time: another user may have made one since the last report. Do not wait for the
                # disk: a watch writes every few seconds, and the next report replaces one that a power failure spoils.
                write_file(follow_links(arguments.output), text.encode("utf-8", "backslashreplace"), 0o644,
                           durable=False)
            else:
                write_out("\n" * (is_table and number > 0) + text)
    except Ended as ended:
        drop_output()
        # A signal is the normal end of a watch.
        return code if arguments.watch else 128 + ended.args[0]
    return code


def run_probe() -> int:
    """Make an orphan, print what became of it in one line, and return the exit code. Raises Failure, OSError."""
    catch_signals()
    try:
        finding = probe()
    except ProbeError as error:
        write_out(f"unknown: {error}\n")
        return UNKNOWN
    write_out(printable(explain_probe(finding)) + "\n")
    return OK if finding.reaped else CRITICAL


def write_out(text: str) -> None:
    """Write to stdout at once. Raises OSError, Failure."""
    if sys.stdout is None:
        raise Failure("stdout is closed; expected it to be open, or --output FILE")
    sys.stdout.write(text)
    sys.stdout.flush()


def drop_output() -> None:
    """Discard what the buffer of stdout holds. CPython writes it at exit, which fails again on a pipe without a reader
    and blocks on a full one.
    """
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def catch_signals() -> None:
    """Let SIGINT and SIGTERM raise Ended, unless the caller has set them to be ignored."""
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def end(number: int, _frame: object) -> NoReturn:
    """Handle a signal: raise Ended, and ignore a second one, which nothing would catch."""
    for each in ENDING:
        signal.signal(each, lambda *_: None)
    raise Ended(number)


def sleep(seconds: float) -> None:
    """Wait for `seconds`, or raise Ended.

    CPython calls a handler between two of its instructions, so a signal that arrives just before time.sleep() is only
    handled after it. A blocked signal stays pending, and sigtimedwait(2) returns for it at once.
    """
    caught = {number for number in ENDING if signal.getsignal(number) is end}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, caught)
    try:
        info = signal.sigtimedwait(caught, seconds)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if info:
        end(info.si_signo, None)


def main() -> int:
    """Run the command line and return the exit code."""
    arguments = parse_arguments()
    if sys.stdout is not None:
        # Metrics are UTF-8 by their definition. A table keeps the encoding of the terminal.
        encoding = "utf-8" if arguments.prometheus else None
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = answer(arguments)
        # A signal that comes from here on stays pending until the exit: nothing would catch Ended.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        return code
    except Ended as ended:
        return 128 + int(ended.args[0])


def answer(arguments: argparse.Namespace) -> int:
    """Do what the options ask for and return the exit code. Print what fails. Raises Ended."""
    try:
        check_paths(arguments)
        return run_probe() if arguments.probe else run(arguments)
    except (Failure, ToolError) as error:
        message = str(error)
    except BrokenPipeError:
        drop_output()  # the reader wants no more
        return UNKNOWN
    except OSError as error:
        drop_output()
        message = f"cannot write the report: {error}"
    except Exception as error:
        message = f"unexpected {error!r}"
    print(f"{NAME}: {message}", file=sys.stderr)
    return UNKNOWN

"""Read pyinit's own options; loaded when one is given."""

from __future__ import annotations

from _signal import SIGCHLD

from ..options import Options, UsageError
from ..linux.signals import WAITED
from . import read_options

SHORT = "sp:ge:wvhl"
LONG = {"subreaper": "s", "parent-death-signal": "p:", "group": "g", "remap-exit": "e:", "warn-on-reap": "w",
        "verbose": "v", "help": "h", "version": "version", "license": "l", "pause": "pause", "reap": "reap:",
        "signal-to": "signal-to:", "rewrite": "rewrite:", "grace": "grace:", "wait-all": "wait-all",
        "kill-after": "kill-after:", "stop-signal": "stop-signal:", "ok-on-stop": "ok-on-stop", "stats": "stats::",
        "stats-signal": "stats-signal:"}
SHOW = {"h": "help", "version": "version", "l": "license"}
LONGEST = 10 * 365 * 86400  # seconds; more than that is a mistake
DECIMAL = frozenset("0123456789.eE+-")  # float() would also take blanks, underscores and the digits of all scripts


def read_command_line(options: Options, arguments: list[str]) -> None:
    """Set what a command line, without argv[0], asks for. Raises UsageError."""
    pairs, options.command = read_options(arguments, SHORT, LONG)
    for key, value in pairs:
        if key == "?":
            raise UsageError(value)
        if key in SHOW:
            options.show = SHOW[key]
            return
        set_option(options, key, value)
    if options.pause and options.command:
        raise UsageError(f"--pause takes no command, but got '{options.command[0]}'")


def set_option(options: Options, key: str, value: str) -> None:
    """Set what one option asks for. Raises UsageError."""
    if key == "s":
        pass  # tini needs it to become a subreaper; pyinit does so without it
    elif key == "p":
        options.parent_death_signal = read_signal(value, "-p")
    elif key == "g":
        options.signal_to = "group"
    elif key == "e":
        options.remap_exit |= {read_number(value, "-e", 255)}
    elif key == "w":
        options.warn_on_reap = True
    elif key == "v":
        options.verbosity += 1
    elif key == "pause":
        options.pause = True
    elif key == "reap":
        options.reap = value  # checked by set_reaper(), with PYINIT_REAP
    else:
        set_own_option(options, key, value)


def set_own_option(options: Options, key: str, value: str) -> None:
    """Set what an option asks for that tini does not have. Raises UsageError."""
    if key == "signal-to":
        if value not in ("main", "group", "all"):
            raise UsageError(f"--signal-to '{value}': expected main, group or all")
        options.signal_to = value
    elif key == "rewrite":
        signal, new = read_rewrite(value)
        options.rewrite = {**options.rewrite, signal: new}
    elif key == "grace":
        options.grace = read_seconds(value, "--grace")
    elif key == "wait-all":
        options.wait_all = True
    elif key == "kill-after":
        options.kill_after = read_seconds(value, "--kill-after")
    elif key == "stop-signal":
        options.stop_signals = (read_waited(value, "--stop-signal"),)
    elif key == "ok-on-stop":
        options.ok_on_stop = True
    elif key == "stats":
        options.stats = value or "-"
    else:
        options.stats_signal = read_waited(value, "--stats-signal")


def read_number(text: str, what: str, most: int) -> int:
    """Read a whole number from 0 to `most`. Raises UsageError, which names `what`."""
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= most):
        raise UsageError(f"{what} '{text}': expected a number from 0 to {most}")
    return int(text)


def read_waited(text: str, what: str) -> int:
    """Return the number of a signal that can be forwarded. Raises UsageError, which names `what`."""
    number = read_signal(text, what)
    if number not in WAITED or number == SIGCHLD:
        raise UsageError(f"{what} '{text}': expected a signal that can be forwarded")
    return number


def read_signal(text: str, what: str) -> int:
    """Return a signal's number. Raises UsageError, which names `what`."""
    from ..linux.signal_names import parse_signal

    try:
        return parse_signal(text)
    except ValueError:
        raise UsageError(f"{what} '{text}': expected a signal, such as TERM, SIGTERM, 15 or RTMIN+3") from None


def read_rewrite(text: str) -> tuple[int, int]:
    """Read `SIG:SIG`, `SIG:0` or `SIG:none`; return both numbers, 0 for none. Raises UsageError."""
    signal, colon, new = text.partition(":")
    if not colon:
        raise UsageError(f"--rewrite '{text}': expected SIG:SIG, such as TERM:QUIT, or SIG:none")
    what = f"--rewrite '{text}':"
    return read_waited(signal, what), 0 if new.lower() in ("0", "none") else read_signal(new, what)


def read_seconds(text: str, what: str) -> float:
    """Read a duration in seconds, 0 or more. Raises UsageError, which names `what`."""
    try:
        seconds = float(text) if DECIMAL.issuperset(text) else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST:
        raise UsageError(f"{what} '{text}': expected a number of seconds, such as 10 or 0.5")
    return seconds

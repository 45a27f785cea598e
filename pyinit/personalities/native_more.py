"""pyinit's options beyond tini's, loaded when one is given."""

from __future__ import annotations

from ..options import Options, UsageError
from .native import read_signal

LONGEST = 10 * 365 * 86400  # seconds; more than that is a mistake


def set_option(options: Options, key: str, value: str) -> None:
    """Set what one option asks for. Raises UsageError."""
    if key == "signal-to":
        if value not in ("main", "group", "all"):
            raise UsageError(f"--signal-to '{value}': expected main, group or all")
        options.signal_to = value
    elif key == "rewrite":
        signal, new = read_rewrite(value)
        options.rewrite[signal] = new
    elif key == "grace":
        options.grace = read_seconds(value, "--grace")
    elif key == "wait-all":
        options.wait_all = True
    elif key == "kill-after":
        options.kill_after = read_seconds(value, "--kill-after")
    elif key == "stop-signal":
        options.stop_signals = (read_signal(value, "--stop-signal"),)
    elif key == "ok-on-stop":
        options.ok_on_stop = True
    elif key == "stats":
        options.stats = value or "-"
    else:
        options.stats_signal = read_signal(value, "--stats-signal")


def read_rewrite(text: str) -> tuple[int, int]:
    """`SIG:SIG`, or `SIG:0` or `SIG:none`. Raises UsageError."""
    signal, colon, new = text.partition(":")
    if not colon:
        raise UsageError(f"--rewrite '{text}': expected SIG:SIG, such as TERM:QUIT, or SIG:none")
    what = f"--rewrite '{text}':"
    return read_signal(signal, what), 0 if new.lower() in ("0", "none") else read_signal(new, what)


def read_seconds(text: str, what: str) -> float:
    """A duration in seconds, 0 or more. Raises UsageError, which names `what`."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST:
        raise UsageError(f"{what} '{text}': expected a number of seconds, such as 10 or 0.5")
    return seconds

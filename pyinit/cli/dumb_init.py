"""dumb-init 1.2.5: its command line, environment and messages."""

from __future__ import annotations

from _signal import SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU

from ..linux.output import write_line
from ..log import DEBUG, DESCRIPTORS  # noqa: F401
from ..options import Options, UsageError
from . import read_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

LONG = {"help": "h", "single-child": "c", "rewrite": "r:", "verbose": "v", "version": "V"}
MOST = 31  # the highest signal that it rewrites

PREFIXES = ("[dumb-init] ",) * 4


def parse(arguments: list[str], environ: Mapping[bytes, bytes], name: str) -> Options:
    """Return the options of a command line, without argv[0], and an environment. Raises UsageError."""
    options = Options(verbosity=0, subreaper=False, isolation="session", signal_to="group",
                      keep_signal_state=False, exit_codes=(2, 2, 2), change_directory=True, suspend=True,
                      end_signal=SIGTERM)
    pairs, options.command = read_options(arguments, "hvVcr:", LONG)
    for letter, value in pairs:
        if letter == "?":
            raise UsageError(f"dumb-init: {value}")
        if letter in "hV":
            options.show = "help" if letter == "h" else "version"
            return options
        if letter == "v":
            options.verbosity = DEBUG
        elif letter == "c":
            options.isolation, options.signal_to = "", "main"
        else:
            add_rewrite(options, value)
    if not options.command:
        raise UsageError("Usage: dumb-init [option] program [args]\nTry dumb-init --help for full usage.")
    read_environment(options, environ)
    if options.isolation:
        # The kernel does not deliver the terminal's stop signals to an orphaned process group, setpgid(2), and the
        # group of a new session is orphaned. It does deliver SIGSTOP.
        options.rewrite = {SIGTSTP: SIGSTOP, SIGTTIN: SIGSTOP, SIGTTOU: SIGSTOP, **options.rewrite}
    return options


def add_rewrite(options: Options, text: str) -> None:
    """Add the rewrite of `-r s:r`, by numbers as in dumb-init, or by names. Raises UsageError."""
    from ..linux.signal_names import parse_signal

    first, _, second = text.partition(":")
    try:
        signal, new = parse_signal(first), 0 if second.strip() == "0" else parse_signal(second)
        if signal > MOST or new > MOST:
            raise ValueError(text)
    except ValueError:
        raise UsageError(f"Usage: -r option takes <signum>:<signum>, where <signum> is between 1 and {MOST}.\n"
                         "This option can be specified multiple times.\nUse --help for full usage.") from None
    options.rewrite = {**options.rewrite, signal: new}


def read_environment(options: Options, environ: Mapping[bytes, bytes]) -> None:
    """Obey DUMB_INIT_DEBUG=1 and DUMB_INIT_SETSID=0. Other values have no effect."""
    if environ.get(b"DUMB_INIT_DEBUG") == b"1":
        options.verbosity = DEBUG
        write_line("[dumb-init] Running in debug mode.")
    if environ.get(b"DUMB_INIT_SETSID") == b"0":
        options.isolation, options.signal_to = "", "main"
        if options.verbosity >= DEBUG:
            write_line("[dumb-init] Not running in setsid mode.")


def show(options: Options, name: str) -> int:
    """Print the text that was asked for, on stderr as dumb-init does; return the exit code."""
    from .dumb_init_texts import HELP, VERSION
    from .native_texts import print_text

    return print_text(VERSION if options.show == "version" else f"{VERSION}\n{HELP}", 2)

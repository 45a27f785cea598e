"""The texts of the tini personality, loaded only when one is shown."""

from __future__ import annotations

from .. import __version__

# `docker info` reads the version up to the dash.
VERSION = f"tini version 0.19.0 - pyinit {__version__}"


def usage(name: str) -> str:
    """Return tini's usage."""
    return f"""\
{name} ({VERSION})
Usage: {name} [OPTIONS] [--] PROGRAM [ARGS] | --version

Runs PROGRAM, forwards signals to it, reaps zombies, and exits with its exit code.

  --version  print the version, if it is the only argument
  -h         print this text
  -s         register as a child subreaper
  -p SIGNAL  the kernel sends SIGNAL when the parent exits, e.g. "-p SIGKILL"
  -v         log more; may be repeated
  -w         log a warning when a zombie is reaped
  -g         forward signals to the child's process group
  -e CODE    exit with 0 when the exit code is CODE (0 to 255); may be repeated
  -l         print the license

Environment:
  TINI_SUBREAPER           if set: as -s
  TINI_KILL_PROCESS_GROUP  if set: as -g
  TINI_VERBOSITY           the verbosity (default: 1)
"""

"""The texts of pyinit's own command line, loaded only when one is shown."""

from __future__ import annotations

import posix

from .. import __version__
from ..linux.output import consume_own_signal

USAGE = """\
Usage: pyinit [OPTIONS] [--] COMMAND [ARG...]
       pyinit --pause
"""

HELP = USAGE + """\

Run COMMAND as the main child: forward signals to it, reap every child that it
or its descendants leave behind, and exit with COMMAND's exit code (128 + N if
signal N killed it).

As tini's:
  -s, --subreaper        adopt orphans also when not PID 1
  -p, --parent-death-signal SIG
                         have SIG sent when the parent of pyinit exits
  -g, --group            forward signals to the main child's process group
  -e, --remap-exit CODE  exit 0 when the exit code is CODE (may be repeated)
  -w, --warn-on-reap     one warning for each orphan that is reaped
  -v, --verbose          say more (may be repeated)
  -h, --help             this text
      --version          the version
  -l, --license          the license

What else to be:
      --pause            no command: reap until SIGINT or SIGTERM
      --as NAME          (first) tini, docker-init, dumb-init, catatonit, pause

How to reap:
      --reap HOW         wait: the waitpid loop; kernel: by ignoring SIGCHLD

Who gets a signal, and as what:
      --signal-to WHOM   main (the main child), group (-g), all (descendants)
      --rewrite SIG:SIG  forward another in its place; SIG:none drops it
                         (may be repeated)

When the main child has ended:
      --grace SECONDS    SIGTERM to all that is left, SIGKILL after SECONDS
      --wait-all         wait for all that is left
      --ok-on-stop       exit 0 if a signal that was forwarded has killed it
And when it does not end:
      --kill-after SECONDS
                         SIGKILL, so long after a termination signal
      --stop-signal SIG  what that is (TERM, INT and QUIT)

What it has done:
      --stats[=FILE]     one line of JSON at the end, on stderr or to FILE
      --stats-signal SIG and when SIG comes, which is not forwarded

A signal is a name (TERM, SIGTERM, RTMIN+3) or a number. Options end at the
first argument that is none, or at --.

Environment (each TINI_ also with PYINIT_ in its place):
  TINI_SUBREAPER, TINI_KILL_PROCESS_GROUP
                         if set at all: as -s, as -g
  TINI_VERBOSITY         0 fatal errors, 1 warnings (default), 2 and 3 more
  PYINIT_REAP            as --reap"""

LICENSE = """\
MIT License

Copyright (c) 2026 the pyinit authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE."""

TEXTS = {"help": HELP, "version": f"pyinit {__version__}", "license": LICENSE}


def print_text(text: str, descriptor: int = 1) -> int:
    """Print, waiting for a slow reader; return exit code 0, or 1 when the text is not taken."""
    content = text.encode("utf-8", "surrogateescape") + b"\n"
    try:
        while content:
            content = content[posix.write(descriptor, content):]
    except OSError as error:
        consume_own_signal(error)
        return 1
    return 0

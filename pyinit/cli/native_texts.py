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

Run COMMAND as the main child: forward signals to it, reap every child, also
adopted ones, and exit with COMMAND's exit code, or with 128 + N if signal N
killed it.

Options that tini has, too:
  -s, --subreaper        accepted: pyinit always adopts orphans, as a subreaper
                         where it is not PID 1
  -p, --parent-death-signal SIG
                         the kernel sends SIG when the parent of pyinit exits
  -g, --group            forward signals to the main child's process group
  -e, --remap-exit CODE  exit with 0 when the exit code is CODE (repeatable)
  -w, --warn-on-reap     log one warning for each orphan that is reaped
  -v, --verbose          log more (repeatable)
  -h, --help             print this text
      --version          print the version
  -l, --license          print the license

Other programs:
      --pause            run no command: reap until SIGINT or SIGTERM
      --as NAME          (first) act as tini, docker-init, dumb-init,
                         catatonit or pause

How to reap:
      --reap HOW         wait: the waitpid loop; kernel: by ignoring SIGCHLD

Signals:
      --signal-to WHOM   forward to main (the main child), group (as -g) or
                         all (every descendant)
      --rewrite SIG:SIG  forward the second when the first one arrives;
                         SIG:none drops it (repeatable)

When the main child has ended:
      --grace SECONDS    SIGTERM to all other processes, SIGKILL after SECONDS
      --wait-all         wait for all other processes
      --ok-on-stop       exit with 0 if a forwarded signal killed it

When the main child does not end:
      --kill-after SECONDS
                         SIGKILL, SECONDS after a termination signal
      --stop-signal SIG  the termination signal (TERM, INT and QUIT)

Statistics:
      --stats[=FILE]     one line of JSON at the end, on stderr or to FILE
      --stats-signal SIG the same when SIG arrives, which is not forwarded

SIG is a name (TERM, SIGTERM, RTMIN+3) or a number. Parsing stops at -- or at
the first argument that is not an option.

Environment:
  TINI_KILL_PROCESS_GROUP
                         if set: as -g
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
    """Print a text, waiting for a slow reader; return exit code 0, or 1 if it cannot be written."""
    content = text.encode("utf-8", "surrogateescape") + b"\n"
    try:
        while content:
            content = content[posix.write(descriptor, content):]
    except OSError as error:
        consume_own_signal(error)
        return 1
    return 0

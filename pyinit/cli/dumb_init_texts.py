"""The texts of the dumb-init personality, loaded only when one is shown."""

from __future__ import annotations

VERSION = "dumb-init v1.2.5"

HELP = """\
Usage: dumb-init [option] command [[arg] ...]

pyinit, called as dumb-init: runs the command in a session of its own, forwards
signals to all of it, and reaps zombies.

   -c, --single-child   no session: forward signals to the command alone
   -r, --rewrite s:r    forward signal r in place of s; 0 is none (may be repeated)
   -v, --verbose        debugging information on stderr
   -h, --help           this text
   -V, --version        the version"""

"""The texts of the dumb-init personality, loaded only when one is shown."""

from __future__ import annotations

VERSION = "dumb-init v1.2.5"

HELP = """\
Usage: dumb-init [option] command [[arg] ...]

pyinit, called as dumb-init: runs the command in a new session, forwards signals
to its process group, and reaps zombies.

   -c, --single-child   no session: forward signals to the command only
   -r, --rewrite s:r    forward r when s arrives; r = 0 drops s (repeatable)
   -v, --verbose        log debugging information to stderr
   -h, --help           print this text
   -V, --version        print the version"""

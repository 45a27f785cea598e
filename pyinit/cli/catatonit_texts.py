"""The help of the catatonit personality, loaded only when it is shown."""

from __future__ import annotations

HELP = """
options:
  -g              forward signals to the process group of the program
  -h              print this text
  -L              print the license
  -P              run no program: reap until SIGINT or SIGTERM
  -V, --version   print the version"""

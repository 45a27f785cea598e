"""The help of the catatonit personality, loaded only when it is shown."""

from __future__ import annotations

HELP = """
options:
  -g              forward signals to the process group of the program
  -h              this text
  -L              the license
  -P              no program: reap until SIGINT or SIGTERM
  -V, --version   the version"""

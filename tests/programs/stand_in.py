"""Run a command and wait for it alone: adopt orphans, as pyinit does, and leave them zombies. The tests of the reaping
must fail with this program.
"""

import ctypes
import os
import sys

arguments = sys.argv[1:]
if "-s" in arguments[:arguments.index("--")]:
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
command = arguments[arguments.index("--") + 1:]
child = os.posix_spawnp(command[0], command, os.environ)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

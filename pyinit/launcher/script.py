"""A launcher that is a script, as templates; its other half is bundle.py."""

from __future__ import annotations

# Isolated, without site-packages, and with UTF-8 for every byte of argv in any locale.
FLAGS = "-ISXutf8"

# The first statement blocks the signals, because those that arrive earlier are lost. If a sandbox refuses that, main()
# tries again, and says why it cannot go on. The script looks for the package beside itself, then where it was written,
# and passes over a file that does not begin with the key. Code that is seldom needed is in strings, so that it is
# compiled only then: every line here is compiled at each start.
LAUNCHER = """\
#!{python} {flags}
try: import _signal; ENTRY_MASK = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
except OSError: ENTRY_MASK = None
# Written by pyinit-install, pyinit {version}, for {implementation}.
import marshal, posix
from _frozen_importlib_external import MAGIC_NUMBER
KEY = MAGIC_NUMBER + {key!r}
try:
    for PATH in (__file__ + ".pyc", {bundle!r}):
        try:
            FILE = posix.open(PATH, posix.O_CLOEXEC | posix.O_NONBLOCK)
            HEADER = posix.read(FILE, 16)
            if HEADER[:9] == KEY:
                break
            posix.close(FILE)
            REASON = "it is for another Python, or for no launcher of this kind"
        except OSError as error:
            REASON = error.strerror
    else:
        exec({search!r})
    CODE = marshal.loads(posix.read(FILE, int.from_bytes(HEADER[9:12], "little")))
    exec(CODE, {{"FILE": FILE, "HEADER": HEADER}})
except BaseException as error:
    try:
        exec({failure!r})
    except MemoryError:
        posix.write(2, b"pyinit: cannot load the package: out of memory\\n")
    finally:
        posix._exit(1)
from pyinit.main import main
main(ENTRY_MASK, {name!r})
"""

# For a start while the launcher is being replaced by one for another Python.
SEARCH = """\
for SECOND in (__file__, {destination!r}):
    try:
        FILE = posix.open(SECOND + ".%d-%d.pyc" % (int.from_bytes(KEY[:2], "little"), KEY[8]),
                          posix.O_CLOEXEC | posix.O_NONBLOCK)
        HEADER = posix.read(FILE, 16)
        if HEADER[:9] == KEY:
            break
    except OSError:
        pass
else:
    raise ImportError(REASON)
"""

FAILURE = """\
if isinstance(error, MemoryError):
    raise error
posix.write(2, ("pyinit: cannot load %s: %s; expected the file that pyinit-install wrote with the launcher, for "
                "{implementation}\\n" % (PATH, str(error) or repr(error))).encode("utf-8", "surrogateescape"))
"""

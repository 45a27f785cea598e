"""The launcher's script, as templates; its other half is bundle.py."""

from __future__ import annotations

# The signals are blocked in the first statement, as those that come earlier are lost. The package is looked for beside
# the launcher, then where it was written; a file that does not begin with the key is passed over. What is seldom needed
# stands in strings, so that it is compiled only then: each line here is compiled at every start.
LAUNCHER = """\
#!{python} -ISXutf8
import _signal; ENTRY_MASK = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
# Written by pyinit-install, pyinit {version}, for {implementation}.
import marshal, posix
from _frozen_importlib_external import MAGIC_NUMBER
KEY = MAGIC_NUMBER + {key!r}
try:
    for PATH in (__file__ + ".pyc", {bundle!r}):
        try:
            FILE = posix.open(PATH, posix.O_CLOEXEC)
            HEADER = posix.read(FILE, 16)
            if HEADER[:9] == KEY:
                break
            posix.close(FILE)
            REASON = "it is for another Python, or for no launcher of this kind"
        except OSError as error:
            REASON = error.strerror
    else:
        exec({search!r})
    LOADER, NOW, LATER = marshal.loads(posix.read(FILE, int.from_bytes(HEADER[9:12], "little")))
    exec(LOADER, {{"FILE": FILE, "HEADER": HEADER, "NOW": NOW, "LATER": LATER}})
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

# A launcher is being replaced by one for another Python.
SEARCH = """\
for SECOND in (__file__, {destination!r}):
    try:
        FILE = posix.open(SECOND + ".%d-%d.pyc" % (int.from_bytes(KEY[:2], "little"), KEY[8]), posix.O_CLOEXEC)
        HEADER = posix.read(FILE, 16)
        if HEADER[:9] == KEY:
            break
    except OSError:
        pass
else:
    raise ImportError(REASON)
"""

FAILURE = """\
posix.write(2, ("pyinit: cannot load %s: %s; expected the file that pyinit-install wrote with the launcher, for "
                "{implementation}\\n" % (PATH, str(error) or repr(error))).encode("utf-8", "surrogateescape"))
"""

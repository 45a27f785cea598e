"""Install launchers without end, as quickly as possible: compiled code is cached. The bundles differ by the
personality that each start loads. Answer each byte on stdin with the number of installations.

argv: a folder with the package, DEST, the interpreters.
"""

import functools
import os
import select
import sys

sys.path.insert(0, sys.argv[1])

from pyinit.launcher import install  # noqa: E402

install.inspect_interpreter = functools.lru_cache(install.inspect_interpreter)
compile_package = functools.lru_cache(install.compile_package)
done = 0
while True:
    for interpreter in sys.argv[3:]:
        for personality in ("native", "tini", "pause"):
            install.compile_package = lambda python, _: compile_package(python, personality)
            install.install(sys.argv[2], interpreter)
            done += 1
            if select.select([0], [], [], 0)[0]:
                os.read(0, 1) or os._exit(0)
                os.write(1, b"%d\n" % done)

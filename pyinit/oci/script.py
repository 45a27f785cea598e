"""The installed runtime's script, as a template. It is one file, so that it is replaced whole or not at all."""

from __future__ import annotations

# A code object is for one version of CPython. Under another one, after an upgrade of the host, the sources are compiled
# at each start, which costs some milliseconds, until the script is installed again. The real runtime is executed in the
# end, after any error: otherwise the host could start no container at all. The code is in hexadecimal digits, because
# CPython reads such a string 0.5 ms sooner than the bytes with their escapes.
SCRIPT = '''\
#!{python} -ISXutf8
# An OCI runtime, written by pyinit-install, pyinit {version}: it puts an init into containers, and executes RUNTIME.
import sys
RUNTIME = {runtime!r}
INIT = {init!r}
ONLY_ANNOTATED = {only_annotated!r}
PACKAGES = {packages!r}
try:
    import marshal
    from _frozen_importlib import ModuleSpec
    from _frozen_importlib_external import MAGIC_NUMBER

    class Modules:
        def find_spec(name, path=None, target=None):
            if name in SOURCES:
                return ModuleSpec(name, Modules, is_package=name in PACKAGES)

        def create_module(spec):
            return None

        def exec_module(module):
            name = module.__name__
            if MAGIC_NUMBER == MAGIC:
                code = marshal.loads(bytes.fromhex(CODE[name]))
            else:
                code = compile(SOURCES[name], name, "exec", dont_inherit=True, optimize=2)
            exec(code, module.__dict__)

    MAGIC = {magic!r}
    CODE = {code!r}
    SOURCES = {sources!r}
    sys.meta_path.insert(0, Modules)
    from pyinit.oci.runtime import main
    main(RUNTIME, INIT, ONLY_ANNOTATED)
except BaseException as error:
    import posix, _signal
    try:
        posix.write(2, ("pyinit-runtime: starts no init: %r\\n" % error).encode("utf-8", "surrogateescape"))
    finally:
        _signal.signal(_signal.SIGPIPE, 0)
        _signal.signal(_signal.SIGXFSZ, 0)
        posix.execv(RUNTIME, [RUNTIME, *sys.argv[1:]])
'''

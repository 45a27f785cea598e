"""The main child starts as it would without pyinit: most tests compare with a run without pyinit."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

import pytest

from support.inits import Init
from support.proc import read_status
from support.processes import python, shell
from support.settings import ROOT

# A C program prints what it was started with; a Python program would have changed it.
CAT = shutil.which("cat") or "/bin/cat"


def differs(init: Init, command: Sequence, inside: Sequence[str] = (), **popen) -> Optional[tuple]:
    """Run a command bare and under pyinit, in the same kind of namespace. Return exit code and output of both, or None
    if they are the same.
    """
    bare = subprocess.run([*init.prefix(), *inside, *command], stdin=subprocess.DEVNULL, capture_output=True,
                          start_new_session=True, **{"cwd": ROOT, **popen})
    result = init.run(command, inside=inside, **popen)
    assert bare.returncode == 0 and bare.stdout, bare
    seen = (bare.returncode, bare.stdout, bare.stderr), (result.code, result.out, result.err)
    return None if seen[0] == seen[1] else seen


ENVIRONMENTS = {
    "empty": {},
    "one": {"A": "1"},
    "C": {"LANG": "C"},
    "POSIX": {"LC_ALL": "POSIX"},
    "LC_ALL C": {"LC_ALL": "C", "LC_CTYPE": "C"},
    "LC_CTYPE C": {"LC_CTYPE": "C", "B": "2"},
    "LC_CTYPE empty": {"LC_CTYPE": ""},
    "LC_CTYPE as CPython coerces it": {"LC_CTYPE": "C.UTF-8", "LANG": "C"},
    "UTF-8": {"LANG": "C.UTF-8"},
    "unknown locale": {"LANG": "xx_XX.UTF-8", "LC_CTYPE": "yy_YY"},
    "PYTHON variables": {"PYTHONHOME": "/nowhere", "PYTHONSTARTUP": "/nowhere", "PYTHONUTF8": "0", "PYTHONVERBOSE": "1",
                         "PYTHONINSPECT": "1", "PYTHONMALLOC": "debug", "PYTHONCOERCECLOCALE": "warn",
                         "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"},
    "LD variables": {"LD_BIND_NOW": "1", "MALLOC_ARENA_MAX": "1"},
    "bytes": {b"BYTES": bytes(set(range(1, 256))), b"\xff\xfe": b"\x80", b"EQUALS": b"=a=b="},
    "Python's launcher": {"A": "1", "__PYVENV_LAUNCHER__": "/no/such", "LANG": "C", "B": "2"},
    "Python's launcher empty": {"__PYVENV_LAUNCHER__": "", "PYTHONEXECUTABLE": "/no/such", "LANG": "C.UTF-8"},
    "Python's launcher first": {"__PYVENV_LAUNCHER__": "=x=", "LC_CTYPE": "C", "B": ""},
    "Python's launcher elsewhere": {"A": "__PYVENV_LAUNCHER__=1", "X__PYVENV_LAUNCHER__": "1"},
    "order": {f"V{number * 7919 % 100}": str(number) for number in range(100)},
    "long": {"LONG": "x" * 130_000},
}


@pytest.mark.core
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment(init: Init, name: str) -> None:
    assert differs(init, [CAT, "/proc/self/environ", "/dev/null"], env={"Z": "", **ENVIRONMENTS[name]}) is None


@pytest.mark.parametrize("name", ["empty", "C", "LC_ALL C", "LC_CTYPE C", "bytes", "UTF-8", "Python's launcher"])
def test_environment_through_module(mode: str, name: str) -> None:
    """`python3 -m` obeys PYTHON variables, so they are left out here. All others pass in the same way."""
    init = Init(mode, [sys.executable, "-m", "pyinit"])
    assert differs(init, [CAT, "/proc/self/environ"], env={"Z": "", **ENVIRONMENTS[name]}) is None


def test_really_empty_environment(any_init: Init) -> None:
    assert any_init.run([CAT, "/proc/self/environ"], env={}, inside=["/usr/bin/env", "-i"]) == (0, b"", b"")


def execute(argv: Sequence[str], environment: Sequence[bytes]) -> Callable[[], None]:
    """Return a function that executes a program with any entries in its environment, execve(2), for a child to call."""
    arguments = [os.fsencode(argument) for argument in argv]
    argv_block = (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None)
    block = (ctypes.c_char_p * (len(environment) + 1))(*environment, None)
    execve = ctypes.CDLL(None).execve
    return lambda: execve(arguments[0], argv_block, block)


@pytest.mark.core
@pytest.mark.parametrize("entries", [
    [b"A=1", b"NO_EQUALS", b"B=2"],
    [b"A=1", b"A=2", b"B=3", b"A=4"],
    [b"LANG=C", b"NO_EQUALS", b"A=1", b"A=2"],
    [b"LC_ALL=C", b"LC_CTYPE=C", b"LC_CTYPE=POSIX"],
    [b"LC_CTYPE=C", b"A=1", b"A=1", b"LC_CTYPE", b"LANG=C"],
    [b"LC_CTYPE", b"A=1"],
    [b"", b"=", b"=x", b"A="],
    [b"\xff=\xff", b"\xffnone", b"LANG=C"],
], ids=repr)
def test_odd_environment(init: Init, entries: list[bytes]) -> None:
    """Entries without `=` and duplicate entries stay unchanged and in their places."""
    argv = init.argv([CAT, "/proc/self/environ"])
    bare = subprocess.run([CAT], preexec_fn=execute([CAT, "/proc/self/environ"], entries), capture_output=True)
    seen = subprocess.run(argv, preexec_fn=execute(argv, entries), capture_output=True, cwd=ROOT)
    assert bare.stdout == b"".join(entry + b"\0" for entry in entries)
    assert (seen.stdout, seen.returncode, seen.stderr) == (bare.stdout, 0, b"")


@pytest.mark.core
@pytest.mark.parametrize("entries", [
    [b"A=1", b"__PYVENV_LAUNCHER__=x", b"B=2", b"NO_EQUALS"],
    [b"A=1", b"__PYVENV_LAUNCHER__=x", b"B=2", b"A=3"],
    [b"A=1", b"__PYVENV_LAUNCHER__=x", b"B=2", b"B=3", b"LANG=C"],
    [b"__PYVENV_LAUNCHER__=x", b"=1"],
    [b"__PYVENV_LAUNCHER__=x", b"__PYVENV_LAUNCHER__=y", b"B=2"],
], ids=repr)
def test_removed_variable_in_an_odd_environment(init: Init, entries: list[bytes]) -> None:
    """A variable that CPython removes is kept, as the first of its duplicates. If the order cannot be kept, the other
    entries still keep theirs.
    """
    argv = init.argv([CAT, "/proc/self/environ"])
    seen = subprocess.run(argv, preexec_fn=execute(argv, entries), capture_output=True, cwd=ROOT)
    others = [entry for entry in entries if not entry.startswith(b"__PYVENV_LAUNCHER__=")]
    told = seen.stdout.split(b"\0")[:-1]
    assert told.count(b"__PYVENV_LAUNCHER__=x") == 1
    assert [entry for entry in told if not entry.startswith(b"__PYVENV_LAUNCHER__=")] == others
    assert (seen.returncode, seen.stderr) == (0, b"")


EVERY_BYTE = [bytes([byte]) for byte in range(1, 256)]
ARGUMENTS = [*EVERY_BYTE, b"".join(EVERY_BYTE), b"", b" ", b"-x", b"--", "é€𝄞".encode(), b"\xc3", b"\xed\xb2\x80",
             b"\xf4\x90\x80\x80", b"\xc0\x80", b"\\udc80", b"a\nb\tc", b"x" * 100_000]


@pytest.mark.core
@pytest.mark.parametrize("locale", ["", "C", "C.UTF-8", "xx_XX"])
def test_arguments(any_init: Init, locale: str) -> None:
    command = shell("cat /proc/$$/cmdline", *ARGUMENTS)
    result = any_init.run(command, env={"LC_ALL": locale, "PATH": "/usr/bin:/bin"})
    assert result.out == b"".join(os.fsencode(argument) + b"\0" for argument in command)
    assert (result.code, result.err) == (0, b"")


@pytest.fixture(scope="module")
def legacy_locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of locales whose encodings have several bytes a character and do not round-trip."""
    folder = tmp_path_factory.mktemp("locales")
    if not shutil.which("localedef") or not os.path.isdir("/usr/share/i18n/charmaps"):
        pytest.skip("no localedef, or nothing to make a legacy locale of: Debian's package locales")
    for name, source, charmap in (("ja_JP.EUC-JP", "ja_JP", "EUC-JP"), ("zh_CN.GBK", "zh_CN", "GBK"),
                                  ("zh_TW.BIG5", "zh_TW", "BIG5")):
        subprocess.run(["localedef", "-c", "-i", source, "-f", charmap, folder / name], capture_output=True)
    return folder


@pytest.mark.parametrize("locale", ["ja_JP.EUC-JP", "zh_CN.GBK", "zh_TW.BIG5"])
def test_legacy_locale(any_init: Init, legacy_locales: Path, locale: str) -> None:
    environment = {"LC_ALL": locale, "LOCPATH": str(legacy_locales), "PATH": "/usr/bin:/bin"}
    known = subprocess.run(["locale", "charmap"], env=environment, capture_output=True).stdout.decode().strip()
    assert known == locale.partition(".")[2], "the locale is one that the C library knows"
    arguments = [*ARGUMENTS, "日本語".encode("euc-jp"), b"\x8f\xa2\xb7", b"\xa1", b"\x8e\xb1\xff"]
    result = any_init.run(shell("cat /proc/$$/cmdline /proc/$$/environ", *arguments), env=environment)
    sent = [*shell("cat /proc/$$/cmdline /proc/$$/environ", *arguments), *(f"{k}={v}" for k, v in environment.items())]
    assert result.out == b"".join(os.fsencode(entry) + b"\0" for entry in sent)


def test_command_of_any_bytes(any_init: Init, tmp_path: Path) -> None:
    """The name of the program and a folder of PATH may have bytes that are not text."""
    folder = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(folder)
    with open(folder + b"/\x80tool", "wb") as file:
        file.write(b"#!/bin/sh\nexit 44\n")
    os.chmod(folder + b"/\x80tool", 0o755)
    for locale in ("C", "C.UTF-8"):
        environment = {b"PATH": folder + b":/bin", b"LC_ALL": locale.encode()}
        assert any_init.run([b"\x80tool"], env=environment).code == 44
        assert any_init.run([folder + b"/\x80tool"], env=environment).code == 44
        result = any_init.run([b"/none/\xff"], env=environment)
        assert (result.code, result.err) == (127, b"pyinit: cannot run '/none/\xff': No such file or directory\n")


# The fields of /proc/self/status that a process inherits, proc(5).
INHERITED = "^(Sig(Blk|Ign|Cgt)|ShdPnd|SigPnd|Umask|Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap.*|Cpus_allowed|Mems_allowed):"
STATES = {
    "as it is": [],
    "blocked": ["env", "--block-signal=USR1,INT,CHLD,RTMIN,TERM,TTIN,TTOU"],
    "all blocked": ["env", "--block-signal"],
    "ignored": ["env", "--ignore-signal=USR2,HUP,INT,QUIT,TERM,CHLD,TTIN,TTOU,TSTP,RTMAX"],
    "SIGINT ignored": ["env", "--ignore-signal=INT"],
    "SIGCHLD ignored and blocked": ["env", "--ignore-signal=CHLD", "--block-signal=CHLD"],
    "all but two ignored": ["env", "--ignore-signal", "--default-signal=PIPE,XFSZ"],
    "umask": ["sh", "-c", 'umask 0137; exec "$@"', "sh"],
    "no new privileges": ["setpriv", "--no-new-privs"],
    "limits": ["prlimit", "--nofile=77:99", "--core=0", "--stack=4194304", "--fsize=12345", "--nproc=4000"],
    "nice": ["nice", "-n", "7"],
    "out of memory first": ["sh", "-c", 'echo 345 >/proc/self/oom_score_adj; exec "$@"', "sh"],
    "one processor": ["taskset", "1"],
    "batch scheduling": ["chrt", "--batch", "0"],
}
# The states in which versions of Python may differ.
CORE = ("blocked", "ignored", "SIGINT ignored")
# The commands that print each state.
READERS = [["grep", "-E", INHERITED, "/proc/self/status"], [CAT, "/proc/self/limits", "/proc/self/oom_score_adj"],
           ["nice"], ["readlink", "/proc/self/cwd"], shell("chrt -p 0 | cut -d \\' -f 2")]


@pytest.mark.parametrize("state", [pytest.param(state, marks=[pytest.mark.core] if state in CORE else [])
                                   for state in STATES])
def test_inherited_state(any_init: Init, state: str) -> None:
    inside = STATES[state]
    if inside and not shutil.which(inside[0]):
        pytest.skip(f"no {inside[0]}")
    for reader in READERS:
        assert differs(any_init, reader, inside) is None


def test_states_are_states() -> None:
    """Each state changes the output of READERS, so the tests above can fail."""
    def read(inside: Sequence[str]) -> list[bytes]:
        return [subprocess.run([*inside, *reader], capture_output=True).stdout for reader in READERS]

    plain = read([])
    own = {"as it is"} | ({"no new privileges"} if read_status(os.getpid())["NoNewPrivs"] == "1" else set())
    assert {state for state, inside in STATES.items() if read(inside) == plain} == own


def test_current_folder(init: Init, tmp_path: Path) -> None:
    assert differs(init, ["readlink", "/proc/self/cwd"], cwd=tmp_path) is None
    lost = tmp_path / "lost"
    lost.mkdir()
    # A current folder that has been removed: pyinit must not need it.
    inside = ["/bin/sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(lost)]
    result = init.run(["readlink", "/proc/self/cwd"], inside=inside)
    assert (result.code, result.out, result.err) == (0, f"{lost} (deleted)\n".encode(), b"")


# Prints each descriptor, and the offset of each regular file.
LIST = """
import os
for number in range(60):
    if os.path.islink("/proc/self/fd/%d" % number):
        regular = number > 2 and os.path.isfile("/proc/self/fd/%d" % number)
        print(number, os.readlink("/proc/self/fd/%d" % number), regular and os.lseek(number, 0, os.SEEK_CUR))
"""


def test_inherited_descriptors(any_init: Init, tmp_path: Path) -> None:
    """The main child gets just the descriptors that pyinit was given, with their numbers and offsets."""
    (tmp_path / "file").write_bytes(b"0123456789")
    with open(tmp_path / "file", "rb", buffering=0) as file:
        file.seek(4)
        first, second = os.dup(file.fileno()), os.dup2(file.fileno(), 55)
        try:
            expected = subprocess.run(python(LIST), pass_fds=(first, second), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
            result = any_init.run(python(LIST), pass_fds=(first, second), stderr=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE)
            pipe = re.compile(rb"pipe:\[\d+\]")
            assert pipe.sub(b"", result.out) == pipe.sub(b"", expected)
            assert expected.count(b"file 4") == 2
        finally:
            os.close(first)
            os.close(second)


@pytest.mark.core
@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]], ids=str)
def test_stdio_closed(any_init: Init, closed: list[int]) -> None:
    """Descriptors that are closed for pyinit are closed for the main child. pyinit's messages go to no other file."""
    read, write = os.pipe()
    report = "import os; os.write(%d, repr([n for n in range(3) if os.path.islink(f'/proc/self/fd/{n}')]).encode())"
    shut = "".join(f" {number}>&-" for number in closed)
    try:
        inside = shell(f'exec "$@"{shut}')
        result = any_init.run(python(report % write + "; os._exit(9)"), ["-vvv"], inside=inside, pass_fds=(write,))
        os.close(write)
        write = -1
        assert result.code == 9
        assert os.read(read, 100) == repr([number for number in range(3) if number not in closed]).encode()
        assert result.out == b""
        assert bool(result.err) == (2 not in closed)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def test_process_group_of_its_own(any_init: Init) -> None:
    """Besides its parent one thing differs: the main child leads a process group, setpgid(2)."""
    result = any_init.run(python("import os; print(os.getpgrp() == os.getpid(), os.getppid())"))
    assert result.out.split()[0] == b"True"
    if any_init.mode == "pid1":
        assert result.out.split()[1] == b"1"


def test_python_variables_do_not_steer_the_launcher(init: Init) -> None:
    for name in ("PYTHONVERBOSE", "PYTHONINSPECT", "PYTHONMALLOCSTATS", "PYTHONPROFILEIMPORTTIME", "PYTHONDEVMODE"):
        assert init.run(["true"], env={name: "1"}) == (0, b"", b"")


def test_sigpipe_has_its_default(any_init: Init) -> None:
    """CPython ignores SIGPIPE. If the main child inherited that, `yes | head` would complain instead of ending."""
    result = any_init.run(["bash", "-c", "yes | head -1; echo ${PIPESTATUS[0]}"])
    assert (result.out, result.err) == (b"y\n141\n", b"")


def test_file_size_signal_has_its_default(any_init: Init, tmp_path: Path) -> None:
    """CPython also ignores SIGXFSZ, setrlimit(2), which the main child must not inherit either."""
    result = any_init.run(shell(f"ulimit -c 0; ulimit -f 1; exec cat /dev/zero >{tmp_path}/file"))
    assert result.code == 128 + signal.SIGXFSZ

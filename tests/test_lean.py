"""The lean pause as a file: its bytes, its tools, what it may do; how it behaves as a pause is in test_pause.py too."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from support import (DEADLINE, NAMESPACE, PYTHON, ROOT, Result, Running, Terminal, children_of, python, read_status,
                     run, shell, start_pause, wait_until, waits_for_signals)
from test_idle import count_wakeups

from pyinit import __version__, lean

MOST_BYTES = 600
WARNING = b"Warning: pause should be the first process\n"
END = b"Shutting down, got signal: Terminated\n"
DOCUMENT = ROOT / "docs" / "lean.md"
PROFILE = ROOT / "deploy" / "seccomp" / "lean-pause.json"

MACHINES = pytest.mark.parametrize("machine", list(lean.MACHINES))
# binutils' tools for each machine: the prefix of their names on any other machine, and how objdump is asked.
DISASSEMBLE = {"x86_64": ("x86_64-linux-gnu-", ["-m", "i386:x86-64", "-M", "intel"]),
               "aarch64": ("aarch64-linux-gnu-", ["-m", "aarch64"])}


def write(path: object, *options: str, **popen) -> Result:
    """Run the tool's command line."""
    return run([PYTHON, "-m", "pyinit.lean", str(path), *options], **popen)


@pytest.fixture
def program(lean_pauses: dict[str, str]) -> list[str]:
    """The lean pause of this machine."""
    if os.uname().machine not in lean_pauses:
        pytest.skip(f"there is no lean pause for {os.uname().machine}")
    return [lean_pauses[os.uname().machine]]


# The file


def find_tool(machine: str, name: str) -> str:
    """binutils' tool that knows a machine."""
    tool = name if os.uname().machine == machine else DISASSEMBLE[machine][0] + name
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    return tool


def disassemble(machine: str, path: str, size: int) -> list[tuple[int, bytes, str]]:
    """What objdump makes of the instructions of a program: address, bytes, mnemonic."""
    text = subprocess.run(
        [find_tool(machine, "objdump"), "-D", "-b", "binary", *DISASSEMBLE[machine][1], "-w",
         f"--adjust-vma={lean.BASE:#x}", f"--start-address={lean.ENTRY:#x}", f"--stop-address={lean.ENTRY + size:#x}",
         path], capture_output=True, text=True, check=True, timeout=DEADLINE).stdout
    found = []
    for line in text.splitlines():
        parts = re.match(r" *([0-9a-f]+):\t([0-9a-f ]+)\t(.*)$", line)
        if parts:
            # A word is shown as a number, whose lowest byte comes first in the file.
            code = b"".join(bytes.fromhex(word)[::-1] for word in parts[2].split())
            found.append((int(parts[1], 16), code, parts[3]))
    return found


def normalise(mnemonic: str) -> str:
    """A mnemonic without objdump's comments, with plain spaces, and numbers as 32 bits of decimals."""
    text = mnemonic.lower().partition("//")[0].replace("#", "")
    text = re.sub(r"-?\b(?:0x[0-9a-f]+|\d+)\b", lambda match: str(int(match[0], 0) % (1 << 32)), text)
    return re.sub(r"\s*,\s*", ",", " ".join(text.split()))


@MACHINES
def test_table_is_what_objdump_reads(machine: str, lean_pauses: dict[str, str]) -> None:
    """Instruction by instruction: address, bytes and mnemonic."""
    table = lean.assemble(machine)
    found = disassemble(machine, lean_pauses[machine], sum(len(one.code) for one in table))
    assert [(one.address, one.code, normalise(one.mnemonic)) for one in table] == \
        [(address, code, normalise(mnemonic)) for address, code, mnemonic in found]


@MACHINES
def test_disassembly_finds_a_wrong_byte(machine: str, tmp_path: Path) -> None:
    """The test above can fail: another immediate is another mnemonic."""
    table = lean.assemble(machine)
    content = bytearray(lean.build(machine))
    content[lean.HEADERS_SIZE + 1] ^= 1
    (tmp_path / "pause").write_bytes(content)
    first = disassemble(machine, str(tmp_path / "pause"), len(table[0].code))[0]
    assert normalise(first[2]) != normalise(table[0].mnemonic)


@MACHINES
def test_both_tables_ask_for_the_same_system_calls(machine: str) -> None:
    """Each number that the program puts into the register of the calls is of a call that is listed."""
    rows = [row for row in lean.MACHINES[machine].program if not isinstance(row, str)]
    named = [name for _, mnemonic, _ in rows for name in lean.MACHINES[machine].calls if name in mnemonic.split()]
    calls = [row for row in rows if row[1] in ("syscall", "svc 0")]
    assert sorted(set(named)) == sorted(lean.MACHINES[machine].calls) and len(named) == len(calls)


@MACHINES
def test_readelf_has_nothing_to_complain_of(machine: str, lean_pauses: dict[str, str]) -> None:
    done = subprocess.run([find_tool(machine, "readelf"), "-a", "-W", lean_pauses[machine]], capture_output=True,
                          text=True, check=True, timeout=DEADLINE, env={**os.environ, "LC_ALL": "C"})
    assert done.stderr == "" and "arning" not in done.stdout.replace(WARNING.decode(), "")
    assert re.search(r"Machine: .*(X86-64|AArch64)", done.stdout)
    assert re.search(r"LOAD +0x0+ 0x0+400000 .* R E 0x10000", done.stdout)
    assert re.search(r"GNU_STACK .* RW +0x10", done.stdout)
    assert "INTERP" not in done.stdout and "DYNAMIC" not in done.stdout


@MACHINES
def test_file_is_small_and_the_same_each_time(machine: str, lean_pauses: dict[str, str], tmp_path: Path) -> None:
    content = Path(lean_pauses[machine]).read_bytes()
    assert len(content) < MOST_BYTES
    assert write(tmp_path / "pause", "--machine", machine, env={"PYTHONHASHSEED": "7", "LANG": "C"}).code == 0
    assert (tmp_path / "pause").read_bytes() == content == lean.build(machine)


@MACHINES
def test_document_has_the_digest(machine: str) -> None:
    content = lean.build(machine)
    name = machine.replace("x86_64", "x86-64")
    row = f"| {name} | {len(content)} bytes | `{hashlib.sha256(content).hexdigest()}` |"
    assert row in DOCUMENT.read_text().splitlines(), f"put this into {DOCUMENT.relative_to(ROOT)}: {row}"


def test_readme_has_the_size() -> None:
    """Of the machine that its figures are of."""
    size = re.search(r"lean pause\*? is a static program of (\d+) bytes", (ROOT / "README.md").read_text())
    assert size and int(size[1]) == len(lean.build("x86_64"))


@MACHINES
def test_document_lists_the_system_calls(machine: str) -> None:
    rows = re.findall(r"^\| `(\w+)\(2\)`", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(lean.MACHINES[machine].calls)


@pytest.mark.parametrize("value, bits, signed", [(128, 8, True), (-129, 8, True), (256, 8, False), (-1, 8, False)])
def test_value_that_does_not_fit(value: int, bits: int, signed: bool) -> None:
    with pytest.raises(ValueError, match=f"{value} does not fit into {bits} bits"):
        lean.fit(value, bits, signed)


@pytest.mark.parametrize("value, bits, signed, field", [(127, 8, True, 127), (-128, 8, True, 128), (-1, 8, True, 255),
                                                        (255, 8, False, 255), (0, 8, False, 0)])
def test_value_that_fits(value: int, bits: int, signed: bool, field: int) -> None:
    assert lean.fit(value, bits, signed) == field


# The tool


def test_tool_writes_a_program(tmp_path: Path) -> None:
    machine = os.uname().machine
    options = [] if machine in lean.MACHINES else ["--machine", "x86_64"]
    (tmp_path / "pause").write_text("something else")
    for _ in range(2):
        assert write("pause", *options, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}) == \
            (0, f"{tmp_path}/pause\n".encode(), b"")
        assert os.listdir(tmp_path) == ["pause"]
        assert oct((tmp_path / "pause").stat().st_mode)[-3:] == "755"
    if not options:
        assert run([tmp_path / "pause", "-v"]).code == 0


def test_tool_replaces_a_program_that_runs(program: list[str], tmp_path: Path) -> None:
    shutil.copy(program[0], tmp_path / "pause")
    with Running([str(tmp_path / "pause")]) as running:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
        assert write(tmp_path / "pause").code == 0
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def refuse(words: str, *arguments: str) -> None:
    """The tool refuses in one line, with exit code 1."""
    result = run([PYTHON, "-m", "pyinit.lean", *arguments])
    message = result.err.decode()
    assert (result.code, result.out, message.count("\n")) == (1, b"", 1), message
    assert message.startswith("pyinit-lean: ") and words in message, message


def test_what_the_tool_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    for name in ("riscv64", "", "X86_64"):
        refuse(f"--machine {name!r}: expected x86_64 or aarch64", str(tmp_path / "out"), "--machine", name)
    refuse(f"{tmp_path}: is a directory", str(tmp_path))
    refuse(f"{tmp_path}/fifo: is there and is no file", str(tmp_path / "fifo"))
    refuse("No such file or directory", str(tmp_path / "missing" / "pause"))
    refuse("Not a directory", str(tmp_path / "file" / "pause"))
    refuse("File name too long", str(tmp_path / ("x" * 300)))
    refuse("/proc/pause", "/proc/pause")
    for name in ("new/", "new/.", "new/..", "file/"):
        refuse(f"{tmp_path}/{name}: is a directory, or names no file", f"{tmp_path}/{name}")
    assert sorted(os.listdir(tmp_path)) == ["fifo", "file"]
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--unknown", "x"], ["x", "--machine"]], ids=str)
def test_command_lines_that_are_refused(arguments: list[str]) -> None:
    result = run([PYTHON, "-m", "pyinit.lean", *arguments])
    assert result.code == 2 and result.err.startswith(b"usage: "), result


# The program, where it does what only a program without an interpreter does


def end(running: Running) -> Result:
    running.send(signal.SIGTERM)
    return running.finish()


# Becomes a subreaper, has a child that leaves orphans when it is told to, and executes its argv: the attribute is kept
# by execve(2), prctl(2).
SUBREAPER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
if os.fork() == 0:
    for line in os.fdopen(0):
        for _ in range(int(line)):
            child = os.fork()
            if child == 0:
                os.fork()
                os._exit(0)
            os.waitpid(child, 0)
        os.write(1, b"done\\n")
    os._exit(0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_subreaper_that_executes_the_pause(lean_pause: list[str]) -> None:
    with start_pause(python(SUBREAPER, *lean_pause)) as running:
        assert len(children_of(running.pid)) == 1
        running.write(b"200\n")
        running.expect("done")
        wait_until(lambda: len(children_of(running.pid)) == 1, "all orphans to be reaped")
        assert end(running) == (0, b"", WARNING + END)


def test_idle_pause_is_not_woken(program: list[str]) -> None:
    with start_pause(program) as running:
        assert count_wakeups(running.pid) == 0
        assert os.listdir(f"/proc/{running.pid}/task") == [str(running.pid)]


def test_orphans_do_not_wake_it(program: list[str]) -> None:
    with start_pause(python(SUBREAPER, *program)) as running:
        before = read_status(running.pid)["voluntary_ctxt_switches"]
        running.write(b"100\n")
        running.expect("done")
        wait_until(lambda: len(children_of(running.pid)) == 1, "all orphans to be reaped")
        assert read_status(running.pid)["voluntary_ctxt_switches"] == before


def test_no_memory_is_writable_and_executable(program: list[str]) -> None:
    """And all that is its own is the stack."""
    with start_pause(program) as running:
        maps = [line.split() for line in Path(f"/proc/{running.pid}/maps").read_text().splitlines()]
    assert not [line for line in maps if "w" in line[1] and "x" in line[1]]
    assert [line[5] for line in maps if "w" in line[1]] == ["[stack]"]
    assert [line[1] for line in maps if line[-1] == program[0]] == ["r-xp"]


def test_stopped_and_continued(lean_pause: list[str]) -> None:
    """rt_sigtimedwait(2) ends with EINTR then, signal(7)."""
    with start_pause(lean_pause) as running:
        for _ in range(3):
            running.send(signal.SIGSTOP)
            wait_until(lambda: read_status(running.pid)["State"].startswith("T"), "it to stop")
            running.send(signal.SIGCONT)
            wait_until(lambda: waits_for_signals(running.pid), "the pause to wait again")
        assert end(running) == (0, b"", WARNING + END)


SIGNAL_BEFORE = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_signal_pending_before_exec(lean_pause: list[str]) -> None:
    assert run(python(SIGNAL_BEFORE, *lean_pause)) == (0, b"", WARNING + END)


def kill_if_there(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass


def test_signals_at_any_moment_of_the_start(program: list[str], namespaces: bool) -> None:
    """To a PID 1 that blocks nothing before: from the mask on none is lost, so that one more ends it in any case."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    for _ in range(30):
        with Running([*NAMESPACE, *program], "pid1") as running:
            pid = running.pid
            while running.process.poll() is None and not waits_for_signals(pid):
                kill_if_there(pid)
            kill_if_there(pid)
            assert running.finish() == (0, b"", END)


@pytest.mark.parametrize("writes", ["broken pipe", "file at its limit", "full device"])
def test_write_that_fails_changes_nothing(program: list[str], writes: str, tmp_path: Path) -> None:
    """Not PID 1, which SIGPIPE and SIGXFSZ would kill and SIGTTOU stop."""
    front = []
    if writes == "broken pipe":
        reader, error = os.pipe()
        os.close(reader)
    elif writes == "file at its limit":
        front, error = ["prlimit", "--fsize=0"], os.open(tmp_path / "error", os.O_WRONLY | os.O_CREAT)
    else:
        error = os.open("/dev/full", os.O_WRONLY)
    with start_pause([*front, *program], stderr=error) as running:
        os.close(error)
        running.send(signal.SIGTERM)
        running.process.stdin.close()
        assert running.process.wait(DEADLINE) == 0


def test_full_pipe_is_waited_for(program: list[str]) -> None:
    """As it is documented: not PID 1, it takes no signal before its warning is read."""
    reader, error = os.pipe()
    os.set_blocking(error, False)
    full = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            full += os.write(error, b"x" * 4096)
    os.set_blocking(error, True)
    with open(reader, "rb") as pipe, Running(program, stderr=error) as running:
        os.close(error)
        wait_until(lambda: int(read_status(running.pid)["SigBlk"], 16), "its mask")
        running.send(signal.SIGTERM)
        wait_until(lambda: int(read_status(running.pid)["ShdPnd"], 16), "the signal to be pending")
        assert pipe.read() == b"x" * full + WARNING + END
        running.process.stdin.close()
        assert running.process.wait(DEADLINE) == 0


def test_terminal_that_stops_who_writes_from_the_background(program: list[str]) -> None:
    """tcsetattr(3), TOSTOP: SIGTTOU."""
    with Terminal() as terminal:
        settings = termios.tcgetattr(terminal.slave)
        settings[3] |= termios.TOSTOP
        termios.tcsetattr(terminal.slave, termios.TCSANOW, settings)
        with terminal.start(["/bin/sh", "-mc", '"$@" & wait "$!"; echo "end $?"', "sh", *program]) as running:
            terminal.read_until(WARNING.strip())
            wait_until(lambda: any(map(waits_for_signals, children_of(running.pid))), "the pause to wait")
            os.kill(children_of(running.pid)[0], signal.SIGTERM)
            assert b"Terminated" in terminal.read_until(b"end 0")


@pytest.mark.parametrize("shut", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors(program: list[str], shut: str) -> None:
    with start_pause(shell(f'exec "$@" {shut}', *program)) as running:
        assert end(running).code == 0


def test_version_that_cannot_be_written(program: list[str]) -> None:
    """The exit code is 0 all the same, unlike that of the Python pause."""
    for shut in (">&-", ">/dev/full"):
        assert run(shell(f'exec "$@" {shut}', *program, "-v")) == (0, b"", b"")


@pytest.mark.parametrize("argument", ["", "-", "v", "-v ", "-vv", "--v", "-x", "\udcff"])
def test_what_is_no_version(lean_pause: list[str], argument: str) -> None:
    with start_pause([*lean_pause, argument, "-v"], env={}) as running:
        assert end(running) == (0, b"", WARNING + END)


# What it may do

# Installs a seccomp filter, seccomp(2), and executes argv: each call of a list fails with EPERM, or, after an "=",
# answers 0 and does nothing; or, after a "+", each that is not on it kills.
FILTER = """
import ctypes, os, struct, sys
words, argv = sys.argv[1].split(), sys.argv[2:]
deny, kill, allow = 0x00050001, 0x80000000, 0x7fff0000  # SECCOMP_RET_ERRNO, _KILL_PROCESS, _ALLOW
only = words[0] == "+"
if words[0] == "=":
    deny ^= 1
numbers = [int(word) for word in words if word.isdigit()]
program = [(0x20, 0, 0, 0)]  # the number of the call
program += [(0x15, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
program += [(0x06, 0, 0, kill if only else allow), (0x06, 0, 0, allow if only else deny)]
code = b"".join(struct.pack("HBBI", *line) for line in program)
buffer = ctypes.create_string_buffer(code)
filter = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
if libc.prctl(22, 2, ctypes.c_char_p(filter), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    sys.exit(f"no seccomp: {os.strerror(ctypes.get_errno())}")
os.execv(argv[0], argv)
"""
# What the instruction behind the last one raises.
TRAP = {"x86_64": signal.SIGILL, "aarch64": signal.SIGTRAP}


def calls() -> dict[str, int]:
    """The system calls of this machine's program."""
    return lean.MACHINES[os.uname().machine].calls


@pytest.mark.parametrize("name", ["rt_sigprocmask", "rt_sigaction", "rt_sigtimedwait"])
def test_sandbox_that_refuses_what_it_needs(program: list[str], name: str) -> None:
    """It ends with exit code 1: it neither loses signals, nor keeps zombies, nor runs round in circles."""
    assert run(python(FILTER, str(calls()[name]), *program)).code == 1


def test_sandbox_that_answers_at_once(program: list[str]) -> None:
    """rt_sigtimedwait(2) never answers 0; a sandbox that does would have it run round in circles."""
    assert run(python(FILTER, f"= {calls()['rt_sigtimedwait']}", *program)).code == 1


def test_sandbox_that_refuses_its_end(program: list[str]) -> None:
    """A trap stands behind the last instruction, and no data."""
    assert run(python(FILTER, str(calls()["exit_group"]), *program, "-v")) == \
        (-TRAP[os.uname().machine], b"pause.py %s\n" % __version__.encode(), b"")


def test_sandbox_that_refuses_the_end_of_pid_1(program: list[str], namespaces: bool) -> None:
    """The kernel does not drop the signal of a trap for PID 1; unshare(1) dies of what its child died of."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    with Running([*NAMESPACE, *python(FILTER, str(calls()["exit_group"]), *program)], "pid1") as running:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
        running.send(signal.SIGTERM)
        assert running.finish().code == -TRAP[os.uname().machine]


@pytest.mark.parametrize("name", ["getpid", "write", "wait4"])
def test_sandbox_that_refuses_what_it_can_do_without(program: list[str], name: str) -> None:
    with start_pause(python(FILTER, str(calls()[name]), *program)) as running:
        assert end(running).code == 0


def numbers_of(names: list[str]) -> str:
    """The numbers of system calls of this machine, and of execve(2), which starts the program."""
    execve = {"x86_64": 59, "aarch64": 221}[os.uname().machine]
    return " ".join(str({**calls(), "execve": execve}[name]) for name in names)


def test_sandbox_of_its_calls_alone(program: list[str]) -> None:
    with start_pause(python(FILTER, "+ " + numbers_of([*calls(), "execve"]), *program)) as running:
        assert end(running) == (0, b"", WARNING + END)
    assert run(python(FILTER, "+ " + numbers_of([*calls(), "execve"]), *program, "-v")).code == 0


@pytest.mark.parametrize("name", ["rt_sigtimedwait", "wait4", "exit_group", "getpid"])
def test_sandbox_of_fewer_calls_kills_it(program: list[str], name: str) -> None:
    """The test above can fail."""
    fewer = [other for other in [*calls(), "execve"] if other != name]
    process = run(python(FILTER, "+ " + numbers_of(fewer), *program, *(["-v"] if name == "exit_group" else [])))
    assert process.code == -signal.SIGSYS


def test_what_strace_sees(program: list[str], tmp_path: Path) -> None:
    """The whole life of a pause, in order."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    log = tmp_path / "log"
    log.touch()
    with Running(["strace", "-f", "-o", str(log), *program]) as running:
        wait_until(lambda: children_of(running.pid) and "rt_sigtimedwait" in log.read_text(), "the pause to wait")
        os.kill(children_of(running.pid)[0], signal.SIGTERM)
        assert running.finish().code == 0
    seen = re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)", log.read_text(), re.MULTILINE)
    assert [name for name, before in zip(seen, [""] + seen) if name != before] == \
        ["execve", "rt_sigprocmask", "rt_sigaction", "getpid", "write", "wait4", "rt_sigtimedwait", "write",
         "exit_group"]


def test_seccomp_profile_names_the_calls_of_the_program() -> None:
    profile = json.loads(PROFILE.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    own, runtime = profile["syscalls"]
    assert sorted(own["names"]) == sorted(lean.MACHINES["x86_64"].calls)
    assert own["action"] == runtime["action"] == "SCMP_ACT_ALLOW"
    table = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(table) == sorted(runtime["names"])


def test_struct_sizes_are_those_of_elf() -> None:
    """elf(5)."""
    assert (lean.ELF_HEADER.size, lean.PROGRAM_HEADER.size) == (64, 56)
    assert struct.unpack_from("<Q", lean.build("x86_64"), 24)[0] == lean.ENTRY

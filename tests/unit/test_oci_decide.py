"""The right containers get the init; as tables of a config.json, and the reason for none or the error."""

from __future__ import annotations

import copy
import posix
from pathlib import Path

import pytest

from pyinit.oci.decide import CALLS, INITS, OPTIONAL, TARGET, clean, decide, explain_program
from pyinit.oci.odd import Odd
from pyinit.oci.program import MOST_STEPS, find_program, resolve
from support.lean_fixtures import list_calls

INJECT = "pyinit.init/inject"
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]}
CONFIG = {
    "process": {"args": ["sleep", "1"], "cwd": "/", "env": ["PATH=/usr/bin:/bin"]},
    "root": {"path": "rootfs"},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, DEV,
               {"destination": "/dev/pts", "type": "devpts", "source": "devpts"}],
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
}


def change(**parts: object) -> dict:
    """Return CONFIG with other top-level parts; None removes a part."""
    config = {**copy.deepcopy(CONFIG), **parts}
    return {key: value for key, value in config.items() if value is not None}


def linux(**parts: object) -> dict:
    return change(linux={**CONFIG["linux"], **parts})


def mounted(*mounts: object) -> dict:
    return change(mounts=[*CONFIG["mounts"], *mounts])


def filtered(default: str, *rules: dict) -> dict:
    return linux(seccomp={"defaultAction": default, "syscalls": list(rules)})


def rule(action: str, *names: str, **more: object) -> dict:
    return {"names": list(names), "action": action, **more}


NO_TMPFS = "/dev is no tmpfs"
INJECTED = {
    "plain": CONFIG,
    "null annotations": change(annotations=None),
    "container of a pod": change(annotations={"io.kubernetes.cri.container-type": "container",
                                              "io.kubernetes.cri-o.ContainerType": "container"}),
    "asked for": change(annotations={INJECT: "true"}),
    "no seccomp": linux(seccomp=None),
    "empty path": linux(namespaces=[{"type": "pid", "path": ""}]),
    "user namespace": linux(namespaces=[{"type": "pid"}, {"type": "user"}]),
    "shared others": linux(namespaces=[{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}]),
    "dev with slashes": change(mounts=[{**DEV, "destination": "//dev/."}]),
    "dev relative": change(mounts=[{**DEV, "destination": "dev"}]),
    "dev again": mounted({"destination": "/dev", "type": "bind"}, DEV),
    "something beside": mounted({"destination": "/dev/pyinit2", "type": "bind"}, {"destination": "/x/dev/pyinit"}),
    "terminal": change(process={**CONFIG["process"], "terminal": True}),
    "allowing profile": filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mount")),
    "logging profile": filtered("SCMP_ACT_LOG"),
    "profile with the calls": filtered("SCMP_ACT_ERRNO", rule("SCMP_ACT_ALLOW", *CALLS)),
    "clone under a condition": filtered(
        "SCMP_ACT_ERRNO", rule("SCMP_ACT_ALLOW", *CALLS[1:]), rule("SCMP_ACT_ALLOW", CALLS[0], args=[{"index": 0}])),
    "failing at the others": filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", *OPTIONAL)),
    "ending at none": filtered("SCMP_ACT_KILL_PROCESS", rule("SCMP_ACT_ALLOW", *CALLS, *OPTIONAL[1:]),
                               rule("SCMP_ACT_ERRNO", OPTIONAL[0])),
    "two processes": linux(resources={"pids": {"limit": "2"}}),
    "any number": linux(resources={"pids": {"limit": -1}}),
    "unified limit": linux(resources={"unified": {"pids.max": "2", "memory.max": "1"}}),
    "no unified limit": linux(resources={"pids": {"limit": 9}, "unified": {"pids.max": "max"}}),
    "null unified": linux(resources={"pids": None, "unified": None}),
    "refused under a condition": filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "clone", args=[{"index": 0}])),
}
LEFT_ALONE = {
    "sandbox of containerd": (change(annotations={"io.kubernetes.cri.container-type": "sandbox"}), "sandbox"),
    "sandbox of CRI-O": (change(annotations={"io.kubernetes.cri-o.ContainerType": "sandbox"}), "sandbox"),
    "sandbox that asks": (change(annotations={"io.kubernetes.cri.container-type": "sandbox", INJECT: "true"}),
                          "sandbox"),
    "BusyBox's init": (change(process={"args": ["/bin/busybox", "init"]}), "is an init: init"),
    "sockets by hand": (change(process={**CONFIG["process"], "env": ["LISTEN_FDS=1", "LISTEN_PID=1"]}), "LISTEN_PID"),
    "WebAssembly": (change(annotations={"run.oci.handler": "wasm"}), "run.oci.handler"),
    "says no": (change(annotations={INJECT: "false"}), '"false"'),
    "host's PID namespace": (linux(namespaces=[{"type": "mount"}]), "of the host"),
    "no namespaces": (change(linux={}), "of the host"),
    "shared PID namespace": (linux(namespaces=[{"type": "pid", "path": "/proc/9/ns/pid"}]), "joins"),
    "an init": (change(process={"args": ["/usr/bin/tini", "--", "x"]}), "tini"),
    "one that asks": (change(process={"args": ["/sbin/init"]}, annotations={INJECT: "true"}), "init"),
    "edited before": (change(process={"args": [TARGET, "--", "x"]}), "pyinit"),
}
ODD = {
    "empty": ({}, "process"),
    "no process": (change(process=None), "process"),
    "process a list": (change(process=[]), "process"),
    "no args": (change(process={}), "args"),
    "null args": (change(process={"args": None}), "args"),
    "empty args": (change(process={"args": []}), "args"),
    "args a string": (change(process={"args": "sh"}), "args"),
    "args a number": (change(process={"args": ["sh", 1]}), "args"),
    "no linux": (change(linux=None), "linux"),
    "namespaces a string": (linux(namespaces="pid"), "namespaces"),
    "annotations a list": (change(annotations=["x"]), "annotations"),
    "annotation of another value": (change(annotations={INJECT: "no"}), "'no'; expected"),
    "annotation that is none": (change(annotations={INJECT: False}), "False; expected"),
    "no mounts": (change(mounts=None), NO_TMPFS),
    "mounts a string": (change(mounts="x"), "mounts"),
    "a mount a string": (mounted("x"), "mounts"),
    "no /dev": (change(mounts=[{"destination": "/dev/pts"}]), NO_TMPFS),
    "/dev of the host": (change(mounts=[{**DEV, "type": "bind", "source": "/dev"}]), NO_TMPFS),
    "/dev of the host over it": (mounted({"destination": "/dev/", "type": "bind"}), NO_TMPFS),
    "root over it": (mounted({"destination": "/", "type": "bind"}), NO_TMPFS),
    "root over it, a tmpfs": (mounted({"destination": "/", "type": "tmpfs"}), NO_TMPFS),
    "read-only /dev": (change(mounts=[{**DEV, "options": ["ro"]}]), NO_TMPFS),
    "something there": (mounted({"destination": "/x/../dev//pyinit", "type": "bind"}), "already"),
    "something below": (mounted({"destination": "/dev/pyinit/x", "type": "bind"}), "already"),
    "profile that allows nothing": (filtered("SCMP_ACT_ERRNO"), "seccomp profile refuses clone(2)"),
    "profile without wait4": (filtered("SCMP_ACT_KILL", rule("SCMP_ACT_ALLOW", *CALLS[:-1])), "wait4"),
    "profile against kill": (filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "kill")), "kill"),
    "profile that ends it": (filtered("SCMP_ACT_KILL_PROCESS", rule("SCMP_ACT_ALLOW", *CALLS)), "end the init"),
    "profile that ends it under a condition": (
        filtered("SCMP_ACT_TRAP", rule("SCMP_ACT_ALLOW", *CALLS, *OPTIONAL[1:]),
                 rule("SCMP_ACT_ALLOW", OPTIONAL[0], args=[{"index": 0}])), "end the init"),
    "profile that ends tracers": (filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_KILL", "ptrace")), "at ptrace(2)"),
    "one process": (linux(resources={"pids": {"limit": 1}}), "pids.limit is 1"),
    "one process, unified": (linux(resources={"unified": {"pids.max": "1"}}), "unified: pids.max is 1"),
    "no process beside it, unified": (linux(resources={"unified": {"pids.max": "0"}}), "unified: pids.max is 0"),
    "one process, unified, with another limit": (
        linux(resources={"pids": {"limit": 2048}, "unified": {"pids.max": "1\n"}}), "unified: pids.max is 1"),
    "one process of the user": (change(process={**CONFIG["process"], "rlimits": [
        {"type": "RLIMIT_NPROC", "hard": "9", "soft": "1"}]}), "RLIMIT_NPROC is 1"),
    "profile without a default": (linux(seccomp={"syscalls": []}), "clone"),
    "profile a string": (linux(seccomp="x"), "seccomp"),
}


@pytest.mark.parametrize("name", INJECTED)
def test_injected(name: str) -> None:
    assert decide(INJECTED[name], False, {}) == ""


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name: str) -> None:
    config, reason = LEFT_ALONE[name]
    assert reason in decide(config, False, {})


@pytest.mark.parametrize("name", ODD)
def test_odd(name: str) -> None:
    config, reason = ODD[name]
    with pytest.raises(Odd) as caught:
        decide(config, False, {})
    assert reason in str(caught.value)


def test_only_annotated() -> None:
    """With --only-annotated only containers with the annotation "true" get the init; "false" always excludes one."""
    assert decide(CONFIG, True, {}) == f'annotation {INJECT} is not "true"'
    assert decide(change(annotations={"other": "true"}), True, {}) == f'annotation {INJECT} is not "true"'
    assert decide(change(annotations={INJECT: "true"}), True, {}) == ""
    assert decide(change(annotations={INJECT: "false"}), True, {}) == f'annotation {INJECT} is "false"'
    with pytest.raises(Odd):
        decide(change(annotations={INJECT: "True"}), True, {})


def test_socket_activation() -> None:
    """With sockets LISTEN_PID is 1, which would be the init and not the program."""
    assert decide(CONFIG, False, {b"LISTEN_FDS": b"1"}).startswith("it is given sockets")
    assert decide(CONFIG, False, {b"LISTEN_FDS": b""}) == ""


@pytest.mark.parametrize("path", [*INITS, *(f"/x/{name}" for name in INITS), "tini-static", "/tini-amd64"])
def test_programs_that_are_inits(path: str) -> None:
    assert explain_program(path) == f"its program is an init: {path.rpartition('/')[2]}"


@pytest.mark.parametrize("path", ["", "sh", "/bin/sh", "initdb", "tiny", "/init/server", "/pause/", "dumb-init2",
                                  "x-tini"])
def test_programs_that_are_none(path: str) -> None:
    assert explain_program(path) == ""


@pytest.mark.parametrize("path, cleaned", [
    ("/", "/"), ("", "/"), ("dev", "/dev"), ("/dev/", "/dev"), ("//dev//./x", "/dev/x"), ("/a/../dev", "/dev"),
    ("/../dev", "/dev"), ("/dev/..", "/"),
])
def test_clean(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


def test_calls_are_those_of_the_lean_init() -> None:
    """Except for the system calls of --copy-to and of messages, they are the same."""
    assert sorted((*CALLS, *OPTIONAL)) == sorted(set(list_calls("init")) - {"umask", "unlinkat", "write", "writev"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a root file system with links that an image may have; outside of it there is a program that is an init."""
    (tmp_path / "tini").touch()
    folder = tmp_path / "rootfs"
    for path in ("bin/busybox", "usr/bin/tini", "srv/run"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    for path, target in {"entry": "/usr/bin/tini", "bin/entry": "../usr/bin/tini", "bin/sh": "busybox",
                         "out": "../../../../tini", "host": str(tmp_path / "tini"), "loop": "loop", "b": "/usr/bin",
                         "chain": "b/../../entry", "broken": "/no/such", "usr/up": "../../..",
                         "usr/bin/absolute": "/entry"}.items():
        (folder / path).symlink_to(target)
    return folder


@pytest.mark.parametrize("path, found", [
    ("/srv/run", "/srv/run"), ("/entry", "/usr/bin/tini"), ("/bin/entry", "/usr/bin/tini"), ("/bin/sh", "/bin/busybox"),
    ("/b/tini", "/usr/bin/tini"), ("/chain", "/usr/bin/tini"), ("/bin/../entry", "/usr/bin/tini"),
    ("/usr/up/entry", "/usr/bin/tini"), ("/usr/bin/absolute", "/usr/bin/tini"), ("//srv/./run", "/srv/run"),
    ("/out", ""), ("/host", ""), ("/loop", ""), ("/broken", ""), ("/no/such", ""), ("/srv", ""), ("/", ""), ("", ""),
    ("/srv/run/x", ""), ("/nul\0", ""), ("/" + "x" * 5000, ""), ("/../tini", ""), ("/srv/..", ""),
])
def test_resolve(root: Path, path: str, found: str) -> None:
    """A path is resolved inside the root file system, also if links lead out of it."""
    assert resolve(str(root), path) == found


@pytest.mark.parametrize("process, found", [
    ({"args": ["/entry"]}, "/usr/bin/tini"),
    ({"args": ["tini"], "env": ["PATH=/bin:/usr/bin"]}, "/usr/bin/tini"),
    ({"args": ["tini"], "env": ["PATH=/usr/bin", "PATH=/srv"]}, ""),
    ({"args": ["entry"], "env": ["PATH=/srv:/bin:/"]}, "/usr/bin/tini"),
    ({"args": ["tini"]}, ""),
    ({"args": ["tini"], "env": [1, "PATH="]}, ""),
    ({"args": ["./bin/entry"], "cwd": "/"}, "/usr/bin/tini"),
    ({"args": ["bin/tini"], "cwd": "/usr"}, "/usr/bin/tini"),
    ({"args": ["bin/tini"]}, ""),
])
def test_find_program(root: Path, process: dict, found: str) -> None:
    assert find_program(str(root), process) == found


def test_image_that_makes_the_search_long(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is bounded: the container's start waits for it, and the container's limits do not apply to it."""
    looks: list[str] = []
    lstat = posix.lstat
    monkeypatch.setattr(posix, "lstat", lambda path: looks.append(path) or lstat(path))
    (root / "long").symlink_to("srv/../" * 500 + "bin")
    assert find_program(str(root), {"args": ["tini"], "env": ["PATH=" + "/long:" * 1000 + "/usr/bin"]}) == ""
    assert len(looks) <= MOST_STEPS

"""Decide which containers get the init, and why others do not; pure.

A returned reason is a rule, or the user's wish. Odd is raised if the container should get the init and cannot: it
starts without it all the same.
"""

from __future__ import annotations

from .odd import Odd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping, Optional, Sequence

# Where the init is mounted. /dev is a new tmpfs in each container, so an image has neither a file nor a link there. The
# runtime makes the mount's target in it even if the root file system is read-only, and no layer keeps it.
TARGET = "/dev/pyinit"

# The parts of config.json that the decision and the edit depend on.
NEEDED = ("annotations", "linux", "mounts", "process", "root")

INJECT = "pyinit.init/inject"
# The annotations in which the engine says what a container is: containerd's CRI plugin; CRI-O and podman.
KINDS = ("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType")

# With one of these annotations, crun runs no process, but the program in a virtual machine or an interpreter of
# WebAssembly.
HANDLERS = ("run.oci.handler", "module.wasm.image/variant")

# Programs that expect to be PID 1, by the last part of their path. `init` is systemd, s6-overlay and BusyBox.
INITS = ("catatonit", "docker-init", "dumb-init", "init", "my_init", "openrc-init", "pause", "podman-init", "pyinit",
         "runit", "runit-init", "s6-linux-init", "s6-overlay-suexec", "s6-svscan", "systemd", "tini")
INIT_PREFIXES = ("tini-",)  # tini-static, tini-amd64

# The system calls without which the lean init cannot run a program.
CALLS = ("clone", "execve", "exit_group", "kill", "rt_sigaction", "rt_sigprocmask", "rt_sigtimedwait", "setpgid",
         "wait4")
# The system calls that may fail without harm to the lean init. But a profile may end the caller instead.
OPTIONAL = ("close", "getpgid", "getpid", "ioctl", "openat", "prctl", "ptrace", "read")
ALLOWING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
FAILING = "SCMP_ACT_ERRNO"


def decide(config: Mapping[str, Any], only_annotated: bool, environment: Mapping[bytes, bytes]) -> str:
    """Return why a container gets no init, or "" if it gets one. Raises Odd.

    config: the members of config.json. environment: the runtime's.
    """
    process = expect(config.get("process"), dict, "process")
    check_command(process)
    return (explain_annotations(expect(config.get("annotations") or {}, dict, "annotations"), only_annotated)
            or explain_namespaces(expect(config.get("linux"), dict, "linux"))
            or explain_activation(environment, process)
            or explain_command(process["args"])
            or refuse_mounts(expect(config.get("mounts") or [], list, "mounts"))
            or refuse_seccomp(config["linux"].get("seccomp"))
            or refuse_limits(config))


def expect(value: Any, kind: type, name: str) -> Any:
    """Return a value. Raises Odd if it is not of the type `kind`. name: of the member, for the text."""
    if not isinstance(value, kind):
        raise Odd(f"config.json: {name} is missing or of another type; expected {kind.__name__}")
    return value


def check_command(process: Mapping[str, Any]) -> None:
    """Raise Odd if the command is not a list of strings with at least one."""
    arguments = process.get("args")
    if not isinstance(arguments, list) or not arguments or not all(isinstance(each, str) for each in arguments):
        raise Odd("config.json: process.args: expected one string at least")


def explain_annotations(annotations: Mapping[str, Any], only_annotated: bool) -> str:
    """Return why the annotations of the container, or of its pod, speak against an init, or "". Raises Odd."""
    if any(annotations.get(key) == "sandbox" for key in KINDS):
        return "it is the sandbox of a pod"
    for key in HANDLERS:
        if annotations.get(key):
            return f"the annotation {key} names a handler for it"
    value = annotations.get(INJECT)
    if value not in (None, "true", "false"):
        raise Odd(f'annotation {INJECT} is {value!r}; expected "true" or "false"')
    if value == "false":
        return f'annotation {INJECT} is "false"'
    return f'annotation {INJECT} is not "true"' if only_annotated and value is None else ""


def explain_namespaces(linux: Mapping[str, Any]) -> str:
    """Return why the container's program would not be the first of a PID namespace, or ""."""
    namespaces = expect(linux.get("namespaces") or [], list, "linux.namespaces")
    pids = [each for each in namespaces if isinstance(each, dict) and each.get("type") == "pid"]
    if not pids:
        return "it has the PID namespace of the host"
    return "it joins a PID namespace" if any(each.get("path") for each in pids) else ""


def explain_activation(environment: Mapping[bytes, bytes], process: Mapping[str, Any]) -> str:
    """Return why a program that is given sockets must be PID 1, or "". runc and crun set LISTEN_PID to 1,
    sd_listen_fds(3).

    A caller that passes descriptors by --preserve-fds may have set it in config.json.
    """
    if environment.get(b"LISTEN_FDS") or "LISTEN_PID=1" in (process.get("env") or ()):
        return "it is given sockets, and LISTEN_PID names PID 1"
    return ""


def explain_command(arguments: Sequence[str]) -> str:
    """Return why a command needs no init, or "". `busybox init` is an init as well."""
    if arguments[0].rpartition("/")[2] == "busybox" and len(arguments) > 1:
        return explain_program(arguments[1])
    return explain_program(arguments[0])


def explain_program(path: str) -> str:
    """Return why a program, by its path or its name, needs no init, or ""."""
    name = path.rpartition("/")[2]
    return f"its program is an init: {name}" if name in INITS or name.startswith(INIT_PREFIXES) else ""


def refuse_mounts(mounts: Iterable[Any]) -> str:
    """Raise Odd if the init cannot be mounted; else return ""."""
    device: Optional[Mapping[str, Any]] = None
    for mount in mounts:
        destination = clean(str(expect(mount, dict, "each of mounts").get("destination", "")))
        if destination in ("/", "/dev"):
            device = mount if destination == "/dev" else None
        elif f"{destination}/".startswith(f"{TARGET}/"):
            raise Odd(f"there is a mount at {destination} already")
    if device is None or device.get("type") != "tmpfs" or "ro" in (device.get("options") or ()):
        raise Odd("/dev is no tmpfs that can be written to")
    return ""


def clean(path: str) -> str:
    """Return an absolute path without `.`, `..` and superfluous slashes; a relative one begins at the root."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def refuse_seccomp(profile: Any) -> str:
    """Raise Odd if a seccomp profile refuses the init a call that it needs, or may end it at another; else return "".

    A needed call counts as allowed if a rule allows it under a condition: the usual profiles allow clone(2) without new
    namespaces, and the init asks for none.
    """
    if not profile:
        return ""
    expect(profile, dict, "linux.seccomp")
    allowed: set[str] = set()
    always: set[str] = set()
    refused: set[str] = set()
    ending: set[str] = set()
    for rule in profile.get("syscalls") or ():
        names, plain = rule.get("names") or (), not rule.get("args")
        if rule.get("action") in ALLOWING:
            allowed.update(names)
            always.update(names if plain else ())
        elif plain:
            refused.update(names)
            ending.update(names if rule.get("action") != FAILING else ())
    default = profile.get("defaultAction")
    for call in CALLS:
        if call in refused or call not in allowed and default not in ALLOWING:
            raise Odd(f"the seccomp profile refuses {call}(2) to the init")
    for call in OPTIONAL:
        if call in ending or call not in always | refused and default not in (*ALLOWING, FAILING):
            raise Odd(f"the seccomp profile may end the init at {call}(2)")
    return ""


def refuse_limits(config: Mapping[str, Any]) -> str:
    """Raise Odd if only one process may run, which would be the init; else return "". Numbers may be text here, see
    document.py.
    """
    resources = config["linux"].get("resources") or {}
    if str((resources.get("pids") or {}).get("limit")) == "1":
        raise Odd("linux.resources.pids.limit is 1, and the init needs a second process")
    # The content of a cgroup's file, in which 0 is a limit, too. The kernel ignores white space around the number.
    unified = str((resources.get("unified") or {}).get("pids.max")).strip()
    if unified in ("0", "1"):
        raise Odd(f"linux.resources.unified: pids.max is {unified}, and the init needs a second process")
    for each in config["process"].get("rlimits") or ():
        if each.get("type") == "RLIMIT_NPROC" and str(each.get("soft")) in ("0", "1"):
            raise Odd(f"RLIMIT_NPROC is {each['soft']}, and the init needs a second process")
    return ""

"""The OCI runtime puts the init into a bundle, and executes the real runtime unchanged in every case.

The tests run it as a process, in front of a stand-in for the real runtime.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyinit.oci.decide import TARGET
from support.oci import install_runtime, write_bundle
from support.processes import Result, run

CAT = shutil.which("cat") or "/bin/cat"

# The stand-in for the real runtime: prints its arguments, and the bundle's config.json.
REAL = """\
#!/bin/sh
printf '%s\\n' "$#" "$@"
cat bundle/config.json 2>/dev/null
exit 42
"""


@pytest.fixture(scope="module")
def runtime(install_folder: Path) -> Path:
    """Install the runtime in front of the stand-in; return its path."""
    real = install_folder / "real-runtime"
    real.write_text(REAL)
    real.chmod(0o755)
    return install_runtime(install_folder / "oci-runtime", "--runtime", real)


@pytest.fixture(scope="module")
def in_front_of_cat(install_folder: Path) -> Path:
    """Install the runtime in front of cat(1), which prints files of /proc/self."""
    return install_runtime(install_folder / "oci-cat", "--runtime", CAT)


@pytest.fixture
def init(runtime: Path) -> Iterator[Path]:
    """Return the path of that runtime's init, which a test may damage; it is restored afterwards."""
    path = Path(f"{runtime}.init")
    content = path.read_bytes()
    yield path
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)


def create(runtime: Path, folder: Path, *options: str, name: str = "create") -> Result:
    """Create a container from the bundle in a folder."""
    return run([runtime, *options, name, "--bundle", "bundle", "id"], cwd=folder)


def identify(path: Path) -> tuple:
    """Return the attributes that change with a file and not by reading it, or () if there is no file."""
    if not os.path.lexists(path):
        return ()
    found = path.lstat()
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode, found.st_uid, found.st_gid


def expected(*options: str, name: str = "create") -> bytes:
    """Return what the stand-in prints of the arguments of create()."""
    arguments = [*options, name, "--bundle", "bundle", "id"]
    return "".join(f"{line}\n" for line in (len(arguments), *arguments)).encode()


@pytest.mark.core
@pytest.mark.parametrize("name", ["create", "run"])
def test_init_is_put_in(runtime: Path, tmp_path: Path, name: str) -> None:
    """The bundle is changed before the real runtime starts, whose arguments, output and exit code stay the same."""
    path = write_bundle(tmp_path / "bundle")
    before = json.loads(path.read_text())
    done = create(runtime, tmp_path, "--debug", name=name)
    assert (done.code, done.err) == (42, b"")
    assert done.out == expected("--debug", name=name) + path.read_bytes()
    after = json.loads(path.read_text())
    assert after["process"]["args"] == [TARGET, "--", "sleep", "1"]
    assert after["mounts"].pop() == {"destination": TARGET, "type": "bind", "source": f"{runtime}.init",
                                     "options": ["bind", "ro", "nosuid", "nodev"]}
    after["process"]["args"] = ["sleep", "1"]
    assert after == before
    assert sorted(os.listdir(tmp_path / "bundle")) == ["config.json", "rootfs"]


def test_owner_and_mode_stay(runtime: Path, tmp_path: Path, needs_root: None) -> None:
    path = write_bundle(tmp_path / "bundle")
    os.chown(path, 1234, 4321)
    path.chmod(0o640)
    assert create(runtime, tmp_path).code == 42
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 4321, 0o640)
    assert TARGET in path.read_text()


@pytest.mark.parametrize("name", ["start", "state", "delete", "kill", "exec", "features", "new"])
def test_other_calls_change_nothing(runtime: Path, tmp_path: Path, name: str) -> None:
    path = write_bundle(tmp_path / "bundle")
    before = identify(path)
    done = create(runtime, tmp_path, name=name)
    assert (done.code, done.out) == (42, expected(name=name) + path.read_bytes())
    assert identify(path) == before
    assert done.err.count(b"\n") == (name == "new")


def test_left_alone(runtime: Path, tmp_path: Path) -> None:
    """An annotation leaves a container without an init; only --debug logs it."""
    path = write_bundle(tmp_path / "bundle", annotations={"pyinit.init/inject": "false"})
    before = identify(path)
    assert create(runtime, tmp_path).err == b""
    done = create(runtime, tmp_path, "--debug", "--log", "log")
    assert (done.code, done.err) == (42, b"")
    assert 'level=debug msg="pyinit-runtime: no init for this container: annotation' in (tmp_path / "log").read_text()
    assert identify(path) == before


def test_program_that_is_an_init_by_a_link(runtime: Path, tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "bundle", process={"args": ["/entry"]})
    (tmp_path / "bundle" / "rootfs" / "tini").touch()
    (tmp_path / "bundle" / "rootfs" / "entry").symlink_to("/tini")
    assert create(runtime, tmp_path).code == 42
    assert TARGET not in path.read_text()


@pytest.mark.parametrize("name", ["other.json", "./config.json"])
def test_another_config(runtime: Path, tmp_path: Path, name: str) -> None:
    """crun resolves --config in the working directory of its caller, and only the name config.json in the bundle."""
    in_bundle = write_bundle(tmp_path / "bundle")
    in_bundle.rename(tmp_path / name)
    for path in {in_bundle, tmp_path / "bundle" / name}:
        shutil.copy(tmp_path / name, path)
    done = run([runtime, "run", "--config", name, "--bundle", "bundle", "id"], cwd=tmp_path)
    assert (done.code, done.err) == (42, b"")
    assert TARGET in (tmp_path / name).read_text()
    assert TARGET not in in_bundle.read_text() + (tmp_path / "bundle" / name).read_text()


def test_only_annotated(install_folder: Path, tmp_path: Path) -> None:
    runtime = install_runtime(install_folder / "oci-annotated", "--runtime", CAT, "--only-annotated")
    path = write_bundle(tmp_path / "bundle")
    create(runtime, tmp_path)
    assert TARGET not in path.read_text()
    write_bundle(tmp_path / "bundle", annotations={"pyinit.init/inject": "true"})
    create(runtime, tmp_path)
    assert TARGET in path.read_text()


# Never in the way

def spoil_config(path: Path, how: str) -> None:
    """Change a config.json so that it cannot be edited."""
    if how == "link":
        path.rename(path.parent / "other")
        path.symlink_to("other")
    elif how in ("missing", "folder", "fifo"):
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how == "fifo":
            os.mkfifo(path)
    elif how == "no JSON":
        path.write_text("{")
    elif how == "deep":
        path.write_text('{"a":' * 100000)
    else:
        with path.open("r+b") as file:
            file.truncate(1 << 27)


@pytest.mark.core
@pytest.mark.parametrize("how", ["missing", "folder", "fifo", "link", "no JSON", "deep", "large"])
def test_odd_config(runtime: Path, tmp_path: Path, how: str) -> None:
    """The real runtime gets the bundle unchanged, and the log has one line."""
    path = write_bundle(tmp_path / "odd")  # where the stand-in does not read it
    spoil_config(path, how)
    before = identify(path)
    options = ["--log", "log", "--log-format", "json"]
    done = run([runtime, *options, "create", "--bundle", path.parent, "id"], cwd=tmp_path)
    assert (done.code, done.err) == (42, b"") and done.out.endswith(b"/odd\nid\n")
    check_line(tmp_path / "log", "config.json")
    assert identify(path) == before


def check_line(log: Path, text: str) -> None:
    """Check that the log has one line of JSON, as runc writes it, and that its message contains a text."""
    (line,) = log.read_text().splitlines()
    entry = json.loads(line)
    assert list(entry) == ["level", "msg", "time"] and entry["level"] == "warning"
    assert entry["msg"].startswith("pyinit-runtime: the container starts without an init: ") and text in entry["msg"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["time"])


def spoil_init(path: Path, how: str) -> None:
    """Change an init so that it must not be used."""
    if how == "writable":
        path.chmod(0o775)
    elif how == "of another user":
        os.chown(path, 1234, -1)
    elif how == "not executable":
        path.chmod(0o644)
    elif how == "not for everyone":
        path.chmod(0o700)
    else:
        path.unlink()
        if how == "link":
            path.symlink_to("/bin/true")
        elif how == "folder":
            path.mkdir()


@pytest.mark.parametrize("how", ["missing", "writable", "of another user", "not executable", "not for everyone", "link",
                                 "folder"])
def test_odd_init(runtime: Path, init: Path, tmp_path: Path, needs_root: None, how: str) -> None:
    path = write_bundle(tmp_path / "bundle")
    before = identify(path)
    spoil_init(init, how)
    try:
        done = create(runtime, tmp_path, "--log", "log", "--log-format=json")
    finally:
        if how == "folder":
            init.rmdir()
    assert (done.code, done.err) == (42, b"")
    check_line(tmp_path / "log", str(init))
    assert identify(path) == before


@pytest.mark.usefixtures("mounts")
def test_bundle_that_cannot_be_written(runtime: Path, tmp_path: Path, needs_root: None) -> None:
    """If the edit fails half way, it leaves no file behind."""
    path = write_bundle(tmp_path / "bundle")
    mount = f'mount -t tmpfs -o size=12k full bundle && cp -r copy/. bundle && {runtime} --log log ' \
            '--log-format json create --bundle bundle id; code=$?; ls bundle; exit $code'
    shutil.copytree(tmp_path / "bundle", tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text(path.read_text() + " " * 5000)
    done = run(["unshare", "--mount", "sh", "-c", mount], cwd=tmp_path)
    assert done.code == 42 and done.out.endswith(b"config.json\nrootfs\n"), done
    check_line(tmp_path / "log", "No space left")


def test_in_a_user_namespace(install_folder: Path, needs_root: None) -> None:
    """The runtime works for an engine without root: the init belongs to root, who has no user ID in its namespace."""
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("no /usr/bin/python3, which another user can execute")
    runtime = install_runtime(install_folder / "oci-user", "--runtime", CAT, "--python", "/usr/bin/python3")
    path = write_bundle(install_folder / "user" / "bundle")
    for each in (path, path.parent):
        os.chown(each, 1234, 1234)
    mapped = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "unshare", "--user", "--map-root-user"]
    if run([*mapped, "true"]).code:
        pytest.skip("no user namespaces can be made here")
    done = run([*mapped, runtime, "create", "--bundle", "bundle", "id"], cwd=path.parent.parent)
    assert TARGET in path.read_text(), done


def test_line_on_stderr(runtime: Path, tmp_path: Path) -> None:
    """Without a log, the line is written to stderr."""
    done = create(runtime, tmp_path)
    assert done.code == 42
    assert re.fullmatch(rb'time="\S+" level=warning msg="pyinit-runtime: the container starts without an init: '
                        rb'bundle/config.json: No such file or directory"\n', done.err)


@pytest.mark.parametrize("log", ["fifo", "no/such/folder", "bundle", "a\udcff"])
def test_log_that_cannot_be_written(runtime: Path, tmp_path: Path, log: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    write_bundle(tmp_path / "bundle", "{")
    assert create(runtime, tmp_path, "--log", log).code == 42


def test_broken_stderr(runtime: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert run([runtime, "create", "id"], cwd=tmp_path, stderr=writing).code == 42
    finally:
        os.close(writing)


def test_real_runtime_that_has_gone(install_folder: Path, tmp_path: Path) -> None:
    real = install_folder / "gone"
    shutil.copy(CAT, real)
    runtime = install_runtime(install_folder / "oci-gone", "--runtime", real)
    real.unlink()
    done = run([runtime, "--log", "log", "state", "id"], cwd=tmp_path)
    assert (done.code, done.err) == (1, b"")
    assert f'level=error msg="pyinit-runtime: cannot execute {real}: No such file' in (tmp_path / "log").read_text()


def edit_script(script: Path, name: str, old: str, new: str) -> Path:
    """Write another script with a text replaced."""
    text = script.read_text()
    assert old in text
    path = script.parent / name
    path.write_text(text.replace(old, new))
    path.chmod(0o755)
    return path


def test_another_python(runtime: Path, tmp_path: Path) -> None:
    """After an upgrade of the interpreter the script's compiled code cannot be loaded; it also has the sources."""
    other = edit_script(runtime, "oci-other", "MAGIC = b'", "MAGIC = b'x")
    path = write_bundle(tmp_path / "bundle")
    done = create(other, tmp_path)
    assert (done.code, done.err) == (42, b"") and TARGET in path.read_text()


def test_code_that_cannot_be_loaded(runtime: Path, tmp_path: Path) -> None:
    """The script writes one line and executes the real runtime."""
    broken = edit_script(runtime, "oci-broken", "bytes.fromhex(CODE[name])", "b'x'")
    path = write_bundle(tmp_path / "bundle")
    done = create(broken, tmp_path)
    assert done.code == 42 and TARGET not in path.read_text()
    assert done.err.startswith(b"pyinit-runtime: starts no init: ") and done.err.count(b"\n") == 1


# What the real runtime is given

ENVIRONMENTS = [{}, {"LANG": "C"}, {"LC_ALL": "C"}, {"LC_CTYPE": "C", "B": "2"}, {"LC_CTYPE": "C.UTF-8"},
                {"LANG": "C", "A": os.fsdecode(b"\xff=\n")}, {"PYTHONPATH": "/x", "PYTHONSTARTUP": "/y"}]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_environment(in_front_of_cat: Path, environment: dict) -> None:
    arguments = ["--debug", "state", "/proc/self/environ"]
    given = run([in_front_of_cat, *arguments[1:]], env=environment)
    assert given == run([CAT, *arguments[1:]], env=environment)


STATUS = (b"SigPnd", b"SigBlk", b"SigIgn", b"SigCgt", b"Cap", b"Uid", b"Gid", b"Groups", b"Umask", b"NoNewPrivs",
          b"Seccomp", b"FDSize")


def test_process(in_front_of_cat: Path) -> None:
    """The real runtime gets the same signals, mask, capabilities and seccomp state as without the script."""
    seen = [run([program, "state", "/proc/self/status"]).out.splitlines() for program in (in_front_of_cat, CAT)]
    lines = [[line for line in status if line.startswith(STATUS)] for status in seen]
    assert lines[0] == lines[1] and len(lines[0]) >= 15


def test_arguments(in_front_of_cat: Path) -> None:
    """The real runtime gets its arguments byte for byte."""
    arguments = ["state", "/proc/self/cmdline", "", "a b", "\u00e9", os.fsdecode(b"\xff\n"), "--", "-x=*"]
    done = run([in_front_of_cat, *arguments])
    assert done.out == b"".join(os.fsencode(each) + b"\0" for each in (CAT, *arguments))


def test_descriptors(in_front_of_cat: Path) -> None:
    """The real runtime inherits the same descriptors, as --preserve-fds needs, and no others."""
    reading, writing = os.pipe()
    try:
        script = 'exec "$0" state /proc/self/fdinfo/$1 /proc/self/fdinfo/$2'
        seen = [run(["sh", "-c", script, program, str(reading), str(writing)], pass_fds=[reading])
                for program in (in_front_of_cat, CAT)]
    finally:
        os.close(reading)
        os.close(writing)
    assert seen[0] == seen[1] and b"flags:" in seen[0].out and b"No such file" in seen[0].err


# Start-up

# The modules below `json`, `time` and `signal`, which are built in or small.
FREE = {"_signal", "posix", "marshal", "_json"}
OWN = {"pyinit", "pyinit.linux", "pyinit.oci", "pyinit.oci.arguments", "pyinit.oci.odd", "pyinit.oci.runtime"}
STARTS = {f"pyinit.oci.{name}" for name in ("config_file", "decide", "document", "edit", "program")}
LINE = {"time", "pyinit.oci.log_line"}


def imports_of(script: Path, *arguments: str) -> set[str]:
    """Return the modules that the script imports and a bare interpreter does not."""
    python, flags = script.read_text().splitlines()[0][2:].split()
    seen = []
    for command in (["-c", "pass"], [script, *arguments]):
        done = run([python, flags, "-X", "importtime", *command])
        lines = [line for line in done.err.decode().splitlines() if line.startswith("import time:")]
        seen.append({line.rpartition("|")[2].strip() for line in lines})
    return seen[1] - seen[0]


@pytest.mark.core
def test_imports(runtime: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    assert imports_of(runtime, "state", "id") <= FREE | OWN
    more = imports_of(runtime, "create", "--bundle", str(tmp_path / "bundle"), "id")
    assert STARTS < more <= FREE | OWN | STARTS
    assert imports_of(runtime, "create", "--bundle", "/no/such", "id") <= FREE | OWN | STARTS | LINE

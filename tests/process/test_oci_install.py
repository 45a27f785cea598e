"""The installer of the OCI runtime writes two files, and refuses an unsafe or useless real runtime or init."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pyinit.destination import ToolError
from pyinit.oci import install as oci_install
from support.oci import install_runtime
from support.processes import Result, run
from support.settings import PYTHON

CAT = shutil.which("cat") or "/bin/cat"


def install(*arguments: object, **popen) -> Result:
    """Run the installer's command line."""
    return run([PYTHON, "-m", "pyinit.launcher", "--oci-runtime", *arguments], **popen)


def refuse(text: str, folder: Path, *arguments: object, **popen) -> None:
    """Check that the installer writes nothing to a folder, and says why in one line."""
    before = sorted(os.listdir(folder))
    result = install(*arguments, **popen)
    message = result.err.decode(errors="surrogateescape")
    assert (result.code, result.out, message.count("\n")) == (1, b"", 1), result
    assert message.startswith("pyinit-install: ") and text in message, message
    assert sorted(os.listdir(folder)) == before


def test_files_that_are_written(tmp_path: Path) -> None:
    path = tmp_path / "runtime"
    assert install(path, "--runtime", CAT) == (0, f"{path}\n{path}.init\n".encode(), b"")
    assert sorted(os.listdir(tmp_path)) == ["runtime", "runtime.init"]
    assert [oct(each.stat().st_mode)[-3:] for each in tmp_path.iterdir()] == ["755", "755"]
    subprocess.run([PYTHON, "-m", "pyinit.lean", "init", tmp_path / "init"], check=True, stdout=subprocess.DEVNULL)
    assert Path(f"{path}.init").read_bytes() == (tmp_path / "init").read_bytes()
    assert run([path, "--version"]).out == run([CAT, "--version"]).out


def test_same_bytes_each_time(tmp_path: Path) -> None:
    first = install_runtime(tmp_path / "runtime", "--runtime", CAT).read_bytes()
    for seed in ("1", "2"):
        assert install(tmp_path / "runtime", "--runtime", CAT, env={"PYTHONHASHSEED": seed, "LANG": "C"}).code == 0
        assert (tmp_path / "runtime").read_bytes() == first


def test_real_runtime_is_found(tmp_path: Path) -> None:
    """runc is preferred to crun, in any order in PATH."""
    for name in ("crun", "runc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).symlink_to(CAT)
    path = os.pathsep.join(str(tmp_path / name) for name in ("crun", "runc"))
    assert install(tmp_path / "runtime", env={"PATH": path}).code == 0
    assert f"\nRUNTIME = '{tmp_path}/runc/runc'\n" in (tmp_path / "runtime").read_text()


@pytest.mark.parametrize("name", ["with space", "quote'\"", "new\nline", "brace{}", "back\\slash", "per%cent",
                                  "\u00e9", os.fsdecode(b"bytes\xff")], ids=ascii)
def test_any_path(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(CAT, folder / "cat")
    assert install(folder / name, "--runtime", folder / "cat").code == 0
    assert run([folder / name, "--version"]).out == run([CAT, "--version"]).out


@pytest.fixture
def catatonit() -> str:
    path = shutil.which("catatonit") or "/usr/libexec/podman/catatonit"
    if not os.path.exists(path):
        pytest.skip("catatonit is not installed")
    return path


def test_another_init(tmp_path: Path, catatonit: str) -> None:
    """Another init is given by its real path, which is the one that is mounted and checked."""
    (tmp_path / "link").symlink_to(catatonit)
    assert install(tmp_path / "runtime", "--runtime", CAT, "--init", tmp_path / "link").code == 0
    assert sorted(os.listdir(tmp_path)) == ["link", "runtime"]
    assert f"\nINIT = '{os.path.realpath(catatonit)}'\n" in (tmp_path / "runtime").read_text()


def test_init_that_no_container_can_execute(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "script").chmod(0o755)
    shutil.copy(CAT, tmp_path / "not-executable")
    (tmp_path / "not-executable").chmod(0o644)
    subprocess.run([PYTHON, "-m", "pyinit.lean", "init", tmp_path / "foreign", "--machine",
                    "x86_64" if os.uname().machine == "aarch64" else "aarch64"], check=True, stdout=subprocess.DEVNULL)
    for name, text in (("script", "static program"), ("not-executable", "everyone may execute"), ("no", "cannot read"),
                       ("foreign", "for this machine"), (CAT, "static program"), ("", "cannot read")):
        refuse(text, tmp_path, tmp_path / "runtime", "--runtime", CAT, "--init", tmp_path / name if name else tmp_path)


def test_real_runtime_that_is_none(tmp_path: Path) -> None:
    refuse("expected the real OCI runtime", tmp_path, tmp_path / "runtime", "--runtime", "/no/such")
    refuse("expected the real OCI runtime", tmp_path, tmp_path / "runtime", "--runtime", tmp_path)
    refuse("expected the real OCI runtime", tmp_path, tmp_path / "runtime", "--runtime", "/etc/passwd")


def test_files_that_cannot_be_looked_at(tmp_path: Path, needs_root: None) -> None:
    """The destination's folder is missing, or the user may execute the real runtime but not read it."""
    missing = tmp_path / "missing"
    refuse(f"{missing}: cannot find out who may change it: No such file", tmp_path, missing / "new", "--runtime", CAT)
    runtime = tmp_path / "real"
    runtime.write_bytes(Path(CAT).read_bytes())
    runtime.chmod(0o711)
    # Without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH root is refused as another user is, capabilities(7).
    os.chown(runtime, 1234, 1234)
    argv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search",
            PYTHON, "-m", "pyinit.launcher", "--oci-runtime", str(tmp_path / "new"), "--runtime", str(runtime)]
    result = run(argv)
    expected = f"pyinit-install: {runtime}: cannot read it: Permission denied; expected the real OCI runtime\n"
    assert result == (1, b"", expected.encode())


def test_runtime_that_would_call_itself(tmp_path: Path) -> None:
    """A runtime may not call itself, directly, by a link, or by another such script: no container would ever start."""
    path = install_runtime(tmp_path / "runtime", "--runtime", CAT)
    (tmp_path / "runc").symlink_to("runtime")
    for real in (path, tmp_path / "runc"):
        refuse("is what this command writes", tmp_path, path, "--runtime", real)
        refuse("is what this command writes", tmp_path, tmp_path / "other", "--runtime", real)


def test_real_runtime_is_not_overwritten(tmp_path: Path) -> None:
    shutil.copy(CAT, tmp_path / "runc")
    refuse("is no such script", tmp_path, tmp_path / "runc", "--runtime", tmp_path / "runc")
    refuse("is no such script", tmp_path, tmp_path / "runc", "--runtime", CAT)
    assert (tmp_path / "runc").read_bytes() == Path(CAT).read_bytes()


def test_library_that_others_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root runs the modules that the interpreter imports, so only root may be able to change them."""
    library = tmp_path / "encodings"
    library.mkdir()
    library.chmod(0o777)
    monkeypatch.setattr(oci_install, "run_interpreter", lambda *_: os.fsencode(library))
    with pytest.raises(ToolError, match=f"{library}: mode 777"):
        oci_install.install(str(tmp_path / "runtime"), PYTHON, CAT)
    assert not (tmp_path / "runtime").exists()


@pytest.mark.parametrize("spoil", ["folder", "link's folder", "mode", "owner", "destination"])
def test_files_that_others_may_change(tmp_path: Path, needs_root: None, spoil: str) -> None:
    """Root runs both runtimes, so other users must not be able to change them or a folder above them."""
    folder = tmp_path / "folder"
    folder.mkdir()
    real = folder / "real"
    shutil.copy(CAT, real)
    named, destination, odd = real, tmp_path / "runtime", folder
    if spoil in ("folder", "link's folder"):
        folder.chmod(0o777)
        if spoil == "link's folder":
            real.unlink()
            real.symlink_to(CAT)
    elif spoil == "mode":
        real.chmod(0o775)
        odd = real
    elif spoil == "owner":
        os.chown(real, 1234, 0)
        odd = real
    else:
        os.chown(folder, 1234, 0)
        named, destination = Path(CAT), folder / "runtime"
    refuse(f"{odd}: mode ", tmp_path, destination, "--runtime", named)
    if spoil.endswith("folder"):
        folder.chmod(0o1777)  # sticky: only the owner of a file can replace it
        assert install(destination, "--runtime", named).code == 0


@pytest.mark.parametrize("kind", ["link of a link", "sticky folder"])
def test_links_that_others_may_change(tmp_path: Path, needs_root: None, kind: str) -> None:
    """Each symbolic link on the way to the real runtime is checked, not only its target."""
    folder, first = tmp_path / "folder", tmp_path / "first"
    folder.mkdir()
    link = folder / "real"
    link.symlink_to(CAT)
    first.symlink_to(link)
    os.chown(link, 1234, 0, follow_symlinks=False)
    if kind == "sticky folder":
        folder.chmod(0o1777)
        refuse(f"{link}: mode ", tmp_path, tmp_path / "runtime", "--runtime", first)
        return
    os.chown(folder, 1234, 0)
    refuse(f"{folder}: mode ", tmp_path, tmp_path / "runtime", "--runtime", first)


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    refuse("expected one of them", tmp_path, tmp_path / "runtime", "--pause")
    for options in (["--runtime", CAT], ["--init", CAT], ["--only-annotated"]):
        result = run([PYTHON, "-m", "pyinit.launcher", tmp_path / "launcher", *options])
        assert result.code == 1 and f"{options[0]}: expected only with --oci-runtime".encode() in result.err
    assert os.listdir(tmp_path) == []

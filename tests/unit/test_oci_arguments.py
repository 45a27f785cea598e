"""The parser of an OCI runtime's command line finds whether a container starts, its bundle and its log; as tables."""

from __future__ import annotations

import pytest

from pyinit.oci.arguments import CALLS, parse
from pyinit.oci.log_line import format_line

# Calls that start a container: command line, bundle, the bundle's config.json.
STARTS = [
    (["create", "id"], ".", "config.json"),
    (["run", "id"], ".", "config.json"),
    (["create", "--bundle", "/b", "id"], "/b", "config.json"),
    (["create", "--bundle=/b", "id"], "/b", "config.json"),
    (["create", "-bundle", "/b", "id"], "/b", "config.json"),
    (["create", "-b", "/b", "id"], "/b", "config.json"),
    (["create", "-b=/b", "id"], "/b", "config.json"),
    (["create", "id", "--bundle", "/b"], "/b", "config.json"),
    (["create", "--bundle", "/a", "--bundle", "/b", "id"], "/b", "config.json"),
    (["create", "--bundle", "a b=c", "id"], "a b=c", "config.json"),
    (["create", "--bundle", "", "id"], "", "config.json"),
    (["create", "--pid-file", "--bundle", "--bundle", "/b", "id"], "/b", "config.json"),
    (["create", "--console-socket", "/s", "--no-pivot", "--preserve-fds", "3", "-b", "/b", "id"], "/b", "config.json"),
    (["create", "--unknown", "--bundle", "/b", "id"], "/b", "config.json"),
    (["create", "--unknown", "value", "--bundle", "/b", "id"], "/b", "config.json"),
    (["create", "--bundle", "/b", "--", "--bundle"], "/b", "config.json"),
    (["run", "--config", "other.json", "--bundle", "/b", "id"], "/b", "other.json"),
    (["run", "-f", "/other.json", "id"], ".", "/other.json"),
    (["run", "-b/b", "-fother.json", "id"], "/b", "other.json"),
    (["create", "-bb=c", "-f=d", "id"], "b=c", "=d"),
    (["run", "-db/b", "-df", "other.json", "id"], "/b", "other.json"),
    (["run", "-d", "-bbundle", "id"], "bundle", "config.json"),
    (["run", "-detach", "-bundle=/b", "id"], "/b", "config.json"),
    (["run", "-d=true", "-debug", "-pid-file", "-b/a", "-b", "-d", "id"], "-d", "config.json"),
    (["--root", "/r", "--log", "/l", "--log-format", "json", "--systemd-cgroup", "create", "-b", "/b", "id"], "/b",
     "config.json"),
    (["--root", "create", "run", "id"], ".", "config.json"),
    (["--cgroup-manager=cgroupfs", "--rootless", "auto", "--criu", "/c", "--log-level", "error", "run", "id"], ".",
     "config.json"),
]


@pytest.mark.parametrize("arguments, bundle, config", STARTS, ids=lambda value: " ".join(value) or "empty")
def test_starts(arguments: list[str], bundle: str, config: str) -> None:
    call = parse(arguments)
    assert (call.starts, call.is_known(), call.bundle, call.config) == (True, True, bundle, config)


@pytest.mark.parametrize("arguments", [
    [], ["--version"], ["--help"], ["-v"], ["--log", "create"], ["--root", "run"], ["--", "state", "create"],
    ["start", "create"], ["exec", "--process", "run", "create"], ["delete", "--force", "run"],
    ["create", "--help"], ["run", "-h"], ["--log=/l"], ["--root"], ["help", "create"],
    *([name, "id"] for name in CALLS if name not in ("create", "run")),
], ids=" ".join)
def test_other_calls(arguments: list[str]) -> None:
    call = parse(arguments)
    assert (call.starts, call.is_known()) == (False, True)


@pytest.mark.parametrize("arguments", [["new-call", "id"], ["--new-option", "value", "create", "id"], ["", "create"]],
                         ids=" ".join)
def test_unknown_calls(arguments: list[str]) -> None:
    """An unknown option may take a value, so the call after it is not recognised, which must be noticed."""
    call = parse(arguments)
    assert not call.starts and call.is_known() is (arguments[0] == "")


@pytest.mark.parametrize("arguments, log, json, debug", [
    (["create"], "", False, False),
    (["--log", "/l", "create"], "/l", False, False),
    (["--log=/l", "--log-format=json", "--debug", "create"], "/l", True, True),
    (["-log", "/l", "-log-format", "json", "--debug=false", "create"], "/l", True, False),
    (["--log-format", "text", "--log-level", "debug", "create"], "", False, True),
    (["--log-format", "json", "--log-format", "text", "create"], "", False, False),
    (["create", "--log", "/l", "id"], "", False, False),
    (["--log=file:/l", "create"], "/l", False, False),
    (["--log", "file:a:b", "--log-format", "json", "create"], "a:b", True, False),
    (["--log=journald:id", "create"], "", False, False),
    (["--log", "syslog:id", "--debug", "create"], "", False, True),
    (["--log=syslog:", "create"], "", False, False),
    (["--log", "/a:b", "create"], "/a:b", False, False),
    (["--log", "journald", "create"], "journald", False, False),
    (["--log", "./file:a", "create"], "./file:a", False, False),
], ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_log(arguments: list[str], log: str, json: bool, debug: bool) -> None:
    call = parse(arguments)
    assert (call.log, call.json, call.debug) == (log, json, debug)


def test_log_lines() -> None:
    """Log lines have the form of runc's logger."""
    time = "2026-01-02T03:04:05Z"
    assert format_line("warning", 'a "b"\n\u00e9', time, False) == \
        f'time="{time}" level=warning msg="a \\"b\\"\\n\\u00e9"\n'
    assert format_line("error", 'a "b"\n\u00e9', time, True) == \
        f'{{"level":"error","msg":"a \\"b\\"\\n\\u00e9","time":"{time}"}}\n'

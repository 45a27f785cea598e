"""Each personality reads its command line and environment as the program that it replaces; as tables.

test_options.py has pyinit's own.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pyinit.cli import getopt
from pyinit.cli.arguments import read_name
from pyinit.main import PERSONALITIES, find_personality
from pyinit.options import Options, UsageError
from support.processes import run
from support.settings import PYTHON, ROOT
from test_options import fields

COMMAND = ["true"]
STOP = {20: 19, 21: 19, 22: 19}  # dumb-init: SIGTSTP, SIGTTIN and SIGTTOU become SIGSTOP
TINI = {"subreaper": False, "warn_not_adopting": True}
DUMB_INIT = {"verbosity": 0, "subreaper": False, "isolation": "session", "signal_to": "group", "rewrite": STOP,
             "keep_signal_state": False, "exit_codes": (2, 2, 2), "change_directory": True, "suspend": True,
             "end_signal": 15}
SINGLE = {"isolation": "", "signal_to": "main", "rewrite": {}}
CATATONIT = {"announce": False, "update_listen_pid": True, "exit_codes": (1, 1, 1), "change_directory": True,
             "close_descriptors": True}

# personality, arguments, environment, what differs from the defaults
ACCEPTED = [
    ("tini", "true", {}, TINI),
    ("tini", "-s -g -w -- true", {}, {**TINI, "subreaper": True, "signal_to": "group", "warn_on_reap": True}),
    ("tini", "-vvv true", {}, {**TINI, "verbosity": 4}),
    ("tini", "-p SIGTERM -e 143 true", {}, {**TINI, "parent_death_signal": 15, "remap_exit": {143}}),
    ("tini", "true -s", {}, {**TINI, "command": ["true", "-s"]}),
    ("tini", "--version", {}, {"show": "version", "command": []}),
    ("tini", "-h", {}, {"show": "help", "command": []}),
    ("tini", "-l", {}, {"show": "license", "command": []}),
    ("tini", "-v true", {"TINI_VERBOSITY": "0"}, {**TINI, "verbosity": 0}),
    ("tini", "true", {"TINI_VERBOSITY": "3x"}, {**TINI, "verbosity": 3}),
    ("tini", "true", {"TINI_VERBOSITY": "x"}, {**TINI, "verbosity": 0}),
    ("tini", "true", {"TINI_SUBREAPER": "", "TINI_KILL_PROCESS_GROUP": ""},
     {**TINI, "subreaper": True, "signal_to": "group"}),
    ("tini", "true", {"PYINIT_SUBREAPER": "1", "PYINIT_VERBOSITY": "3"}, TINI),
    ("docker-init", "-s true", {}, {**TINI, "subreaper": True}),
    ("tini-static", "-s true", {}, {**TINI, "subreaper": True}),
    ("init", "-s true", {}, {**TINI, "subreaper": True}),
    ("dumb-init", "true", {}, DUMB_INIT),
    ("dumb-init", "true -v", {}, {**DUMB_INIT, "command": ["true", "-v"]}),
    ("dumb-init", "-c true", {}, {**DUMB_INIT, **SINGLE}),
    ("dumb-init", "--single-child -- true", {}, {**DUMB_INIT, **SINGLE}),
    ("dumb-init", "--sing true", {}, {**DUMB_INIT, **SINGLE}),
    ("dumb-init", "-r 15:3 true", {}, {**DUMB_INIT, "rewrite": {15: 3, **STOP}}),
    ("dumb-init", "-r 15:0 --rewrite=1:2 true", {}, {**DUMB_INIT, "rewrite": {15: 0, 1: 2, **STOP}}),
    ("dumb-init", "-r TERM:QUIT true", {}, {**DUMB_INIT, "rewrite": {15: 3, **STOP}}),
    ("dumb-init", "-r 20:20 -r 21:0 true", {}, {**DUMB_INIT, "rewrite": {20: 20, 21: 0, 22: 19}}),
    ("dumb-init", "-c -r 15:3 true", {}, {**DUMB_INIT, **SINGLE, "rewrite": {15: 3}}),
    ("dumb-init", "-v true", {}, {**DUMB_INIT, "verbosity": 3}),
    ("dumb-init", "true", {"DUMB_INIT_SETSID": "0"}, {**DUMB_INIT, **SINGLE}),
    ("dumb-init", "true", {"DUMB_INIT_SETSID": "1", "DUMB_INIT_DEBUG": "0"}, DUMB_INIT),
    ("catatonit", "true", {}, CATATONIT),
    ("catatonit", "-g -- true", {}, {**CATATONIT, "signal_to": "group"}),
    ("catatonit", "-P", {}, {**CATATONIT, "pause": True, "command": []}),
    ("catatonit", "-P ignored", {}, {**CATATONIT, "pause": True, "command": ["ignored"]}),
    ("catatonit", "-gV", {}, {**CATATONIT, "show": "version", "command": []}),
    ("catatonit", "true", {"CATATONIT_DEBUG": ""}, {**CATATONIT, "verbosity": 3}),
    ("pause", "", {}, {"pause": True, "command": []}),
    ("pause", "whatever --there is", {}, {"pause": True, "command": []}),
    ("pause", "-v", {}, {"pause": True, "show": "version", "command": []}),
    ("pause", "x -V", {}, {"pause": True, "show": "version", "command": []}),
]

# personality, arguments, environment, words of the message
REFUSED = [
    ("tini", "", {}, "Usage: tini"),
    ("tini", "-x true", {}, "tini: invalid option -- 'x'"),
    ("tini", "--version true", {}, "tini: invalid option -- '-'"),
    ("tini", "-p FOO true", {}, "Not a valid option for -p: FOO"),
    ("tini", "-e 256 true", {}, "Not a valid option for -e: 256"),
    ("tini", "-e 1x true", {}, "Not a valid option for -e: 1x"),
    ("dumb-init", "", {}, "Usage: dumb-init [option] program [args]"),
    ("dumb-init", "-x true", {}, "dumb-init: invalid option -- 'x'"),
    ("dumb-init", "--foo true", {}, "dumb-init: unrecognized option '--foo'"),
    ("dumb-init", "-r 15 true", {}, "between 1 and 31"),
    ("dumb-init", "-r 15:99 true", {}, "between 1 and 31"),
    ("dumb-init", "-r 0:15 true", {}, "between 1 and 31"),
    ("dumb-init", "-r 34:15 true", {}, "between 1 and 31"),
    ("dumb-init", "-r 15: true", {}, "between 1 and 31"),
    ("catatonit", "", {}, "missing program name"),
    ("catatonit", "-g", {}, "missing program name"),
    ("catatonit", "-x true", {}, "catatonit: invalid option -- 'x'"),
]


def parse(name: str, line: str, environ: dict[str, str]) -> Options:
    """Return the options that a personality reads from a command line."""
    personality = find_personality(PERSONALITIES[name])
    return personality.parse(line.split(), {key.encode(): value.encode() for key, value in environ.items()}, name)


@pytest.mark.parametrize(("name", "line", "environ", "expected"), ACCEPTED)
def test_accepted(name: str, line: str, environ: dict[str, str], expected: dict[str, object]) -> None:
    options = fields(parse(name, line, environ))
    if options["show"]:
        # The other options are not used then.
        assert options["show"] == expected["show"]
    else:
        assert options == {**fields(Options(command=COMMAND)), **expected}


@pytest.mark.parametrize(("name", "line", "environ", "words"), REFUSED)
def test_refused(name: str, line: str, environ: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(name, line, environ)
    assert words in str(caught.value)


@pytest.mark.parametrize("arguments", [["--as", "tini", "-s"], ["--as=tini", "-s"]])
def test_as_name(arguments: list[str]) -> None:
    assert read_name(arguments) == ("tini", ["-s"])


@pytest.mark.parametrize("arguments", [["--as"], ["--as="], ["--as", "bogus"], ["--asx", "tini"]])
def test_as_name_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="expected --as and one of pyinit, tini"):
        read_name(arguments)


def test_getopt_takes_a_single_dash_for_an_argument() -> None:
    assert getopt.read_options(["-a", "-", "-b"], "ab", {}) == ([("a", "")], ["-", "-b"])


def test_called_by_a_link(launcher: str, tmp_path: Path) -> None:
    """The name of a link selects the personality, whatever name the launcher was installed under."""
    expected = {"tini": b"tini version 0.19.0 - pyinit ", "docker-init": b"tini version 0.19.0 - pyinit ",
                "dumb-init": b"dumb-init v1.2.5\n", "catatonit": b"tini version 0.1.7_catatonit",
                "pause": b"pause.py ", "anything": b"pyinit "}
    for name, words in expected.items():
        (tmp_path / name).symlink_to(launcher)
        result = run([tmp_path / name, "-v" if name == "pause" else "--version"])
        assert (result.code, (result.out + result.err)[:len(words)]) == (0, words), name


@pytest.mark.parametrize("name", ["tini", "dumb-init", "catatonit"])
def test_called_by_the_name_it_was_written_under(name: str, install_folder: Path, tmp_path: Path) -> None:
    """The name at the installation counts if the launcher's present name is no personality's, as under podman."""
    path = install_folder / name
    subprocess.run([PYTHON, "-m", "pyinit.launcher", path], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (tmp_path / "podman-init").symlink_to(path)
    by_name, by_link = run([path, "--version"]), run([tmp_path / "podman-init", "--version"])
    assert by_link == by_name and by_name.code == 0
    assert b"pyinit 0" not in by_name.err and by_name.out[:7] != b"pyinit "

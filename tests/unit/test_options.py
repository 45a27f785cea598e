"""pyinit reads its command line and environment correctly, and refuses what is wrong; as tables."""

from __future__ import annotations

import pytest

from pyinit.cli import native
from pyinit.options import Options, UsageError
from support.command_lines import REFUSED, REFUSED_ENVIRONMENTS

C = ["command"]
READ = [
    (["command"], {"command": C}),
    (["--", "command"], {"command": C}),
    (["command", "-s", "--", "-x"], {"command": ["command", "-s", "--", "-x"]}),
    (["--", "-s"], {"command": ["-s"]}),
    (["--", "--", "command"], {"command": ["--", "command"]}),
    (["-", "x"], {"command": ["-", "x"]}),
    (["", "x"], {"command": ["", "x"]}),
    (["-s", *C], {"command": C}),
    (["--subreaper", *C], {"command": C}),
    (["-g", *C], {"command": C, "signal_to": "group"}),
    (["--group", *C], {"command": C, "signal_to": "group"}),
    (["-w", *C], {"command": C, "warn_on_reap": True}),
    (["--warn-on-reap", *C], {"command": C, "warn_on_reap": True}),
    (["-v", *C], {"command": C, "verbosity": 2}),
    (["-vvv", *C], {"command": C, "verbosity": 4}),
    (["-v", "--verbose", *C], {"command": C, "verbosity": 3}),
    (["-sgwv", *C], {"command": C, "signal_to": "group", "warn_on_reap": True, "verbosity": 2}),
    (["-p", "TERM", *C], {"command": C, "parent_death_signal": 15}),
    (["-pTERM", *C], {"command": C, "parent_death_signal": 15}),
    (["-sp", "9", *C], {"command": C, "parent_death_signal": 9}),
    (["-sp9", *C], {"command": C, "parent_death_signal": 9}),
    (["--parent-death-signal", "RTMIN+1", *C], {"command": C, "parent_death_signal": 35}),
    (["--parent-death-signal=hup", *C], {"command": C, "parent_death_signal": 1}),
    (["-p", "1", "-p", "2", *C], {"command": C, "parent_death_signal": 2}),
    (["-e", "0", "-e", "255", "-e7", "--remap-exit", "8", "--remap-exit=9", *C],
     {"command": C, "remap_exit": {0, 255, 7, 8, 9}}),
    (["--pause"], {"pause": True}),
    (["--pause", "-vv"], {"pause": True, "verbosity": 3}),
    (["--pause", "--"], {"pause": True}),
    (["--reap", "kernel", *C], {"command": C, "reap": "kernel"}),
    (["--reap=wait", *C], {"command": C, "reap": "wait"}),
    (["--reap", "kernel", "--reap", "wait", *C], {"command": C, "reap": "wait"}),
    (["--pause", "--reap", "kernel"], {"pause": True, "reap": "kernel"}),
    (["--grace", "10", *C], {"command": C, "grace": 10.0}),
    (["--grace=0", *C], {"command": C, "grace": 0.0}),
    (["--grace", "0.25", *C], {"command": C, "grace": 0.25}),
    (["--grace=1e2", "--grace", "3", *C], {"command": C, "grace": 3.0}),
    (["--wait-all", *C], {"command": C, "wait_all": True}),
    (["--kill-after", "9", *C], {"command": C, "kill_after": 9.0}),
    (["--stop-signal", "quit", *C], {"command": C, "stop_signals": (3,)}),
    (["--stop-signal=RTMIN+3", *C], {"command": C, "stop_signals": (37,)}),
    (["--ok-on-stop", *C], {"command": C, "ok_on_stop": True}),
    (["--signal-to", "main", *C], {"command": C, "signal_to": "main"}),
    (["--signal-to=group", *C], {"command": C, "signal_to": "group"}),
    (["-g", "--signal-to", "all", *C], {"command": C, "signal_to": "all"}),
    (["--rewrite", "TERM:QUIT", *C], {"command": C, "rewrite": {15: 3}}),
    (["--rewrite=15:3", "--rewrite", "hup:none", *C], {"command": C, "rewrite": {15: 3, 1: 0}}),
    (["--rewrite", "TERM:0", "--rewrite", "TERM:INT", *C], {"command": C, "rewrite": {15: 2}}),
    (["--rewrite", "SIGRTMAX-1:RTMIN+2", *C], {"command": C, "rewrite": {63: 36}}),
    (["--stats", *C], {"command": C, "stats": "-"}),
    (["--stats=", *C], {"command": C, "stats": "-"}),
    (["--stats=a b", *C], {"command": C, "stats": "a b"}),
    (["--stats-signal", "USR1", *C], {"command": C, "stats_signal": 10}),
    (["-h"], {"show": "help"}),
    (["--help"], {"show": "help"}),
    (["--version"], {"show": "version"}),
    (["-l"], {"show": "license"}),
    (["--license"], {"show": "license"}),
    (["-h", "command"], {"show": "help", "command": C}),
    (["-sh"], {"show": "help"}),
]
ENVIRONMENTS = [
    ({"TINI_SUBREAPER": ""}, {}),
    ({"TINI_SUBREAPER": "0"}, {}),
    ({"TINI_KILL_PROCESS_GROUP": "1"}, {"signal_to": "group"}),
    ({"TINI_VERBOSITY": "3"}, {"verbosity": 3}),
    ({"TINI_VERBOSITY": "0"}, {"verbosity": 0}),
    ({"TINI_VERBOSITY": ""}, {}),
    ({"SUBREAPER": "1", "TINI_subreaper": "1", "XTINI_SUBREAPER": "1", "PYINIT": "1"}, {}),
]



def read(arguments: list[str], environment: dict[str, str]) -> dict:
    """Return the options of a command line and an environment, by name."""
    block = {name.encode(): value.encode("utf-8", "surrogateescape") for name, value in environment.items()}
    return fields(native.parse(list(arguments), block, "pyinit"))


def fields(options: Options) -> dict:
    names = [name for name, value in vars(Options).items() if name[0] != "_" and not callable(value)]
    return {**{name: getattr(options, name) for name in names}, "command": list(options.command)}


@pytest.mark.parametrize("arguments, expected", READ, ids=str)
def test_command_lines_that_are_read(arguments: list[str], expected: dict) -> None:
    assert read(arguments, {}) == fields(Options(**expected))


@pytest.mark.parametrize("environment, expected", ENVIRONMENTS, ids=ascii)
def test_environments_that_are_read(environment: dict[str, str], expected: dict) -> None:
    assert read(C, environment) == fields(Options(command=C, **expected))


def test_command_line_adds_to_the_environment() -> None:
    options = read(["-v", *C], {"TINI_VERBOSITY": "2"})
    assert (options["verbosity"], options["command"]) == (3, C)


@pytest.mark.parametrize("arguments, word", REFUSED, ids=lambda value: ascii(value)[:40])
def test_command_lines_that_are_refused(arguments: list[str], word: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read(arguments, {})
    assert word in str(refusal.value).partition("\n")[0]


@pytest.mark.parametrize("environment, name", REFUSED_ENVIRONMENTS, ids=lambda value: ascii(value)[:40])
def test_environments_that_are_refused(environment: dict[str, str], name: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read(C, environment)
    assert name in str(refusal.value).partition("\n")[0]

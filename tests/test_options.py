"""The command line and the environment, as tables: what is read, and what is refused."""

from __future__ import annotations

import pytest
from pyinit.options import Options, UsageError
from pyinit.cli import native

C = ["command"]
READ = [
    (["command"], {"command": C}),
    (["--", "command"], {"command": C}),
    (["command", "-s", "--", "-x"], {"command": ["command", "-s", "--", "-x"]}),
    (["--", "-s"], {"command": ["-s"]}),
    (["--", "--", "command"], {"command": ["--", "command"]}),
    (["-", "x"], {"command": ["-", "x"]}),
    (["", "x"], {"command": ["", "x"]}),
    (["-s", *C], {"command": C, "subreaper": True}),
    (["--subreaper", *C], {"command": C, "subreaper": True}),
    (["-g", *C], {"command": C, "signal_to": "group"}),
    (["--group", *C], {"command": C, "signal_to": "group"}),
    (["-w", *C], {"command": C, "warn_on_reap": True}),
    (["--warn-on-reap", *C], {"command": C, "warn_on_reap": True}),
    (["-v", *C], {"command": C, "verbosity": 2}),
    (["-vvv", *C], {"command": C, "verbosity": 4}),
    (["-v", "--verbose", *C], {"command": C, "verbosity": 3}),
    (["-sgwv", *C], {"command": C, "subreaper": True, "signal_to": "group", "warn_on_reap": True, "verbosity": 2}),
    (["-p", "TERM", *C], {"command": C, "parent_death_signal": 15}),
    (["-pTERM", *C], {"command": C, "parent_death_signal": 15}),
    (["-sp", "9", *C], {"command": C, "parent_death_signal": 9, "subreaper": True}),
    (["-sp9", *C], {"command": C, "parent_death_signal": 9, "subreaper": True}),
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
    (["-sh"], {"show": "help", "subreaper": True}),
]
ENVIRONMENTS = [
    ({"TINI_SUBREAPER": ""}, {"subreaper": True}),
    ({"TINI_SUBREAPER": "0"}, {"subreaper": True}),
    ({"PYINIT_SUBREAPER": ""}, {"subreaper": True}),
    ({"TINI_KILL_PROCESS_GROUP": "1"}, {"signal_to": "group"}),
    ({"PYINIT_KILL_PROCESS_GROUP": ""}, {"signal_to": "group"}),
    ({"TINI_VERBOSITY": "3"}, {"verbosity": 3}),
    ({"PYINIT_VERBOSITY": "0"}, {"verbosity": 0}),
    ({"TINI_VERBOSITY": "3", "PYINIT_VERBOSITY": "1"}, {"verbosity": 1}),
    ({"TINI_VERBOSITY": ""}, {}),
    ({"SUBREAPER": "1", "TINI_subreaper": "1", "XTINI_SUBREAPER": "1", "PYINIT": "1"}, {}),
]
REFUSED = [
    ([], "no command"),
    (["--"], "no command"),
    (["-s"], "no command"),
    (["-x", *C], "'x'"),
    (["-sx", *C], "'x'"),
    (["-S", *C], "'S'"),
    (["-V", *C], "'V'"),
    (["-P"], "'P'"),
    (["-é", *C], "'é'"),
    (["-\udcff", *C], "'\udcff'"),
    (["-1", *C], "'1'"),
    (["--unknown", *C], "--unknown"),
    (["---", *C], "---"),
    (["--=x", *C], ""),
    (["--subreaper=yes", *C], "--subreaper"),
    (["--help=", *C], "--help"),
    (["-p"], "'p'"),
    (["-p", "NOSUCH", *C], "NOSUCH"),
    (["-p", "", *C], "signal"),
    (["-p", "0", *C], "0"),
    (["-p", "65", *C], "65"),
    (["--parent-death-signal"], "--parent-death-signal"),
    (["--parent-death-signal=", *C], "signal"),
    (["-e"], "'e'"),
    (["-e", "256", *C], "256"),
    (["-e", "-1", *C], "-1"),
    (["-e", "x", *C], "x"),
    (["-e", "", *C], "0 to 255"),
    (["-e", "1x", *C], "1x"),
    (["-e", "٣", *C], "٣"),
    (["-e", "1" * 5000, *C], "0 to 255"),
    (["-ex", *C], "x"),
    (["--remap-exit"], "--remap-exit"),
    (["--remap-exit=", *C], "0 to 255"),
    (["--reap"], "--reap"),
    (["--grace"], "--grace"),
    *[([option, value, *C], f"{option} '{value}'") for option in ("--grace", "--kill-after")
      for value in ("", "x", "-1", "-0.1", "nan", "inf", "1e99", "10s", "1 2", "1_0", " 5", "5 ", "\u0665",
                    "\uff15", "9" * 400, "1" * 5000)],
    (["--wait-all=yes", *C], "--wait-all"),
    (["--ok-on-stop=1", *C], "--ok-on-stop"),
    (["--stop-signal", "NOSUCH", *C], "--stop-signal 'NOSUCH'"),
    (["--stop-signal=0", *C], "--stop-signal '0'"),
    (["--stats-signal", "KILLL", *C], "--stats-signal 'KILLL'"),
    (["--stats-signal"], "--stats-signal"),
    *[(["--signal-to", value, *C], f"--signal-to '{value}'") for value in ("", "child", "All", "main,group")],
    *[(["--rewrite", value, *C], f"--rewrite '{value}'")
      for value in ("", "TERM", "TERM:", ":TERM", "0:TERM", "TERM:NOSUCH", "65:1", "TERM:QUIT:INT", "none:TERM")],
    (["--pause", "command"], "command"),
]
REFUSED_ENVIRONMENTS = [({name: value}, name) for name in ("TINI_VERBOSITY", "PYINIT_VERBOSITY")
                        for value in ("x", "-1", "10", "1.5", " 1", "٣", "\udcff", "1" * 5000)]


def read(arguments: list[str], environment: dict[str, str]) -> dict:
    """All that a command line and an environment ask for, by name."""
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
    options = read(["-v", *C], {"TINI_VERBOSITY": "2", "TINI_SUBREAPER": ""})
    assert (options["verbosity"], options["subreaper"], options["command"]) == (3, True, C)


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

"""Command lines and environments that pyinit refuses, each with a text that its message must contain."""

from __future__ import annotations

C = ["command"]

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
REFUSED_ENVIRONMENTS = [({"TINI_VERBOSITY": value}, "TINI_VERBOSITY")
                        for value in ("x", "-1", "10", "1.5", " 1", "٣", "\udcff", "1" * 5000)]

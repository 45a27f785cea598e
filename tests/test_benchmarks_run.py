"""The benchmark harness itself, end to end: figures exist and are sane, never that they are fast; nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import wait_until

from benchmarks import cgroups, cli, generators, namespaces, procfs, tracing
from pyinit.lean import MACHINES

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "benchmarks"]
NAMESPACES = namespaces.may_make_namespaces() or namespaces.may_enter_user_namespace()

pytestmark = [pytest.mark.timeout(300),
              pytest.mark.skipif(not NAMESPACES, reason="no PID namespaces: needs root, or user namespaces")]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


def test_a_short_run_writes_figures_and_pictures(tmp_path: Path) -> None:
    done = run("reap", "idle", "--quick", "--only", "pyinit", "--json", str(tmp_path / "f.json"),
               "--svg", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "## reap" in done.stdout and "## idle" in done.stdout
    figures = json.loads((tmp_path / "f.json").read_text())
    reap, idle = figures["experiments"]
    assert {row["init"] for row in reap["data"]} == {"pyinit", "pyinit (again)"}
    for row in reap["data"]:
        summary = row["latency_ns"]
        assert summary["n"] > 50 and row["left"] == 0
        assert 0 < summary["p50"] <= summary["p90"] <= summary["max"] < 60e9
    assert all(row["wakeups_per_minute"] >= 0 for row in idle["data"])
    assert (tmp_path / "reap-latency-500-s.svg").read_text().startswith("<svg")


@pytest.mark.smoke
@pytest.mark.skipif("CI" not in os.environ and "PYINIT_SMOKE" not in os.environ,
                    reason="takes a minute: set PYINIT_SMOKE=1")
def test_quick_has_every_experiment(tmp_path: Path) -> None:
    """With pyinit in each of its ways, one peer, and what does not reap: with every init it takes two minutes."""
    inits = ("pyinit", "pyinit --reap kernel", "tini", "pyinit pause", "pyinit lean", "sleep (as pause v3.0)")
    found = [init for init in inits if (init != "tini" or shutil.which("tini"))
             and (init != "pyinit lean" or os.uname().machine in MACHINES)]
    done = run("--quick", "--only", ",".join(found), "--json", str(tmp_path / "f.json"), "--svg", str(tmp_path))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    data = {experiment["name"]: experiment["data"] for experiment in figures["experiments"]}
    assert list(data) == list(cli.EXPERIMENTS)
    for row in data["reap"] + data["scale"] + data["forward"]:
        assert row["latency_ns"]["n"] or row.get("by_kernel"), row
    by_kernel = {"pyinit --reap kernel", "pyinit pause (kernel)", "pyinit lean"}
    assert not any(row["by_kernel"] for row in data["reap"] + data["scale"] if row["init"] not in by_kernel)
    assert all(row["cpu_ns"] > 0 or row["init"] in by_kernel for row in data["cost"])
    assert all(row["one"]["Private_Dirty"] > 0 for row in data["memory"])
    memory = {row["init"]: row["sum"] for row in data["memory"]}
    if "pyinit lean" in memory:
        assert memory["pyinit lean"]["Private_Dirty"] < memory["sleep (as pause v3.0)"]["Private_Dirty"]
    assert any(row["plain_over_true_ns"] for row in data["start"])
    assert all(row["cpu_ns"] > 0 and row["memory"] > 0 for row in data["zombies"])
    incident = {row["init"]: row for row in data["incident"]}
    for name in {"pyinit pause", "pyinit lean"} & incident.keys():
        assert (incident[name]["refused"], incident[name]["until_eagain_ns"]) == (0, None)
    assert ("pyinit lean" in incident) == (os.uname().machine in MACHINES)
    assert all(row["until_eagain_ns"] for name, row in incident.items() if name.startswith("sleep"))


def test_the_lean_programs_are_measured_as_the_others_are(tmp_path: Path) -> None:
    if os.uname().machine not in MACHINES:
        pytest.skip("there is no lean program for this machine")
    sleeper = "sleep (as pause v3.0)"
    data = {}
    for experiment, only in (("start", "pyinit lean,pyinit lean init"), ("incident", f"pyinit lean,{sleeper}")):
        done = run(experiment, "--quick", "--only", only, "--json", str(tmp_path / "f.json"))
        assert done.returncode == 0, done.stderr
        rows = json.loads((tmp_path / "f.json").read_text())["experiments"][0]["data"]
        data[experiment] = {row["init"]: row for row in rows}
    assert all(data["start"]["pyinit lean"][name] for name in ("plain_ns", "to_mask_ns", "stop_ns"))
    assert all(data["start"]["pyinit lean init"][name] for name in ("plain_over_true_ns", "to_mask_ns", "stop_ns"))
    assert data["incident"]["pyinit lean"]["zombies"] == data["incident"]["pyinit lean"]["refused"] == 0
    assert data["incident"][sleeper]["until_eagain_ns"]


def test_an_init_without_zombies_has_no_latency_but_a_line(tmp_path: Path) -> None:
    done = run("reap", "cost", "scale", "--quick", "--only", "pyinit,pyinit pause (kernel)", "--json",
               str(tmp_path / "f.json"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pyinit pause (kernel) ignores SIGCHLD") == 3  # one line for each experiment
    assert not [line for line in done.stdout.splitlines() if "WARNING: pyinit pause (kernel)" in line
                and ("measured" in line or "left" in line)]
    figures = json.loads((tmp_path / "f.json").read_text())
    reap, cost, scale = (experiment["data"] for experiment in figures["experiments"])
    for row in reap + scale:
        assert row["by_kernel"] == (row["init"] == "pyinit pause (kernel)") == (row["latency_ns"]["n"] == 0)
    for row in reap + cost:
        assert row["init"] != "pyinit pause (kernel)" or row["most_zombies"] in (0, None)  # None without tracepoints


def test_a_throttled_init_has_zombies_unless_the_kernel_reaps(tmp_path: Path) -> None:
    done = run("throttle", "--quick", "--only", "pyinit pause,pyinit pause (kernel)", "--json",
               str(tmp_path / "f.json"))
    assert done.returncode == 0, done.stderr
    rows = {row["init"]: row for row in json.loads((tmp_path / "f.json").read_text())["experiments"][0]["data"]}
    if not cgroups.find_root(cgroups.CpuQuota):
        assert rows == {} and "not measured: no control group" in done.stdout
        return
    assert all(row["orphans"] > 0 for row in rows.values())
    loop, kernel = rows["pyinit pause"], rows["pyinit pause (kernel)"]
    assert loop["most_zombies"] > 10 and loop["times_stopped"] > 0 and loop["reaped_by"] == "the init"
    assert (kernel["most_zombies"], kernel["gone_ns"], kernel["left"]) == (0, 0, 0)
    assert kernel["reaped_by"] == "the kernel"


def test_without_a_cpu_controller_throttling_is_not_measured() -> None:
    program = ("import sys; from benchmarks import cgroups, cli; cgroups.list_roots = lambda controller: []; "
               "sys.exit(cli.main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", program, "--quick", "throttle", "--only", "pyinit"], cwd=ROOT,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "not measured: no control group" in done.stdout


@pytest.mark.skipif(not namespaces.may_make_namespaces(), reason="needs root")
def test_zombies_are_counted_once_and_forgotten(tmp_path: Path) -> None:
    with namespaces.start(["A=1", "/bin/sleep", "60"], [sys.executable, "-IS", str(ROOT / "benchmarks/storm.py"),
                                                        "storm-test"]) as running:
        watch = procfs.ZombieWatch(running.pid)
        assert watch.count() == 0
        running.helper.ask("live 3")
        running.helper.ask("flat 5")
        wait_for(lambda: watch.count() == 5, 5)
        assert (watch.count(), watch.most) == (5, 5)
        watch.known.add(2 ** 30)  # one that has been reaped since
        assert watch.count() == 5
        assert "A=1" in procfs.read(f"/proc/{running.pid}/environ").split("\0")


def test_without_tracepoints_reaps_are_still_measured(tmp_path: Path) -> None:
    done = run("reap", "--quick", "--no-trace", "--only", "pyinit", "--json", str(tmp_path / "f.json"))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["how"] in ("pidfd", "polling")
    assert all(row["latency_ns"]["p50"] > 0 for row in figures["experiments"][0]["data"])


def test_storm_says_that_a_good_init_is_good() -> None:
    done = run("storm", "--rate", "300", "--seconds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "zombies left: 0" in done.stdout


def test_storm_says_that_a_bad_init_is_bad() -> None:
    """The test that the test can fail: sleep does not reap."""
    done = run("storm", "--pause", "--init", "sleep 100", "--rate", "50", "--seconds", "1")
    assert done.returncode == 1
    assert "zombies left: 50" in done.stdout


@pytest.mark.parametrize("arguments", [
    ["nosuch"], ["--only", "nosuch"], ["--init", "x"], ["--pause", "x="],
    *(["storm", "--init", command] for command in ("", " ", "A=1", "/no/such/init", "'sh")),
    ["storm", "--rate", "-1"], ["storm", "--rate", "1_0"], ["storm", "--seconds", "0"],
], ids=lambda arguments: ascii(" ".join(arguments))[:40])
def test_bad_input_is_named(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode in (1, 2)
    assert arguments[-1] in done.stderr and "expected" in done.stderr and "Traceback" not in done.stderr


def processes_of(harness: int) -> list[str]:
    """The storm processes of a harness, which have its PID in their names."""
    found = []
    for pid in procfs.list_processes():
        try:
            words = [*procfs.read(f"/proc/{pid}/cmdline").split("\0"), procfs.read(f"/proc/{pid}/comm").strip()]
        except OSError:
            continue
        if f"storm-{harness}" in words:
            found.append(f"process {pid}: {' '.join(words)}")
    return found


def remains(harness: int) -> list[str]:
    """What is left of a harness: processes, tracing instances, control groups."""
    found = processes_of(harness)
    if os.path.isdir(f"{tracing.TRACEFS}/instances/{tracing.PREFIX}{harness}"):
        found.append("tracing instance")
    for root in cgroups.list_roots("pids") + cgroups.list_roots("cpu"):
        found += [f"{root}/{name}" for name in os.listdir(root) if name.startswith(f"{cgroups.PREFIX}{harness}-")]
    return found


# After SIGKILL the next run removes what is left: a tracing instance, and the control groups of two experiments.
@pytest.mark.parametrize("experiment, number, code", [
    *((experiment, number, 130) for experiment in ("scale", "memory", "forward", "incident", "throttle")
      for number in (signal.SIGINT, signal.SIGTERM)),
    *((experiment, signal.SIGKILL, -9) for experiment in ("scale", "incident", "throttle")),
])
def test_an_interrupted_run_leaves_nothing(experiment: str, number: int, code: int) -> None:
    if experiment == "throttle" and not cgroups.find_root(cgroups.CpuQuota):
        pytest.skip("no control group with a CPU quota can be made: no init is started")
    process = subprocess.Popen([*COMMAND, "--quick", experiment], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_until(lambda: has_started_init(process.pid), "the harness to start an init")
        if experiment != "memory":  # which starts inits alone: the check at the end of all tests sees those
            wait_until(lambda: processes_of(process.pid), "a storm process by whose name what is left can be found")
        process.send_signal(number)
        if number != signal.SIGKILL:  # further ones must not disturb the cleaning up
            time.sleep(0.01)
            process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    if number == signal.SIGKILL:
        wait_until(lambda: not processes_of(process.pid), "its processes to end")
        assert run("idle", "--quick", "--only", "sleep (as pause v3.0)").returncode == 0  # it removes what is stale
        if experiment == "incident":
            cgroups.find_root()
        if experiment == "throttle":
            cgroups.find_root(cgroups.CpuQuota)
    assert remains(process.pid) == []


def has_started_init(harness: int) -> bool:
    """Whether a harness is in the midst of an experiment: a PID 1 below it has executed a program of its own.

    Without root the harness itself goes on as PID 1 of a namespace, in a child.
    """
    own = procfs.read(f"/proc/{harness}/cmdline")
    for pid in namespaces.list_descendants(harness):
        try:
            # NSpid: the PID in each namespace, outermost first, proc(5).
            if procfs.read_status(pid)["NSpid"].split()[-1] == "1" and procfs.read(f"/proc/{pid}/cmdline") != own:
                return True
        except OSError:
            continue
    return False


def wait_for(condition, patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture(params=["C", "Python"])
def storm(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Both generators, for the same tests."""
    if request.param == "Python":
        return [sys.executable, "-IS", str(ROOT / "benchmarks/storm.py"), "storm-test"]
    built = generators.build(str(tmp_path))
    if not built.compiled:
        pytest.skip("no C compiler")
    return built.storm("storm-test")


@pytest.mark.skipif(not namespaces.may_make_namespaces(), reason="needs root")
@pytest.mark.parametrize("command, made", [("paced 500 20", 20), ("flat 20", 20), ("burst 20", 20), ("live 20", 20)])
def test_generators_make_what_they_are_told(storm: list[str], command: str, made: int) -> None:
    with namespaces.start(["/bin/sleep", "60"], storm) as running:
        before = namespaces.adopted_children(running)
        answer = running.helper.ask(command)
        assert (answer["made"], answer["refused"]) == (made, 0)
        wait_for(lambda: namespaces.adopted_children(running) == before + made, 5)
        zombies = 0 if command.startswith("live") else made
        wait_for(lambda: procfs.count_zombies(running.pid) == zombies, 5)  # adopted first, then they exit
        assert procfs.count_zombies(running.pid) == zombies
        assert namespaces.adopted_children(running) == before + made
    assert procfs.read_state(running.pid) == ""


@pytest.mark.skipif(not namespaces.may_make_namespaces(), reason="needs root")
def test_a_paced_storm_follows_its_plan(storm: list[str]) -> None:
    with namespaces.start(["/bin/sleep", "60"], storm) as running:
        answer = running.helper.ask("paced 100 30")
        assert answer["end"] - answer["start"] >= 0.29e9
        assert answer["latest"] >= 0


@pytest.mark.skipif(not namespaces.may_make_namespaces(), reason="needs root")
def test_an_init_that_cannot_be_executed_is_named() -> None:
    with pytest.raises(namespaces.StartError, match="/no/such/init"):
        namespaces.start(["/no/such/init"])


def test_without_any_namespace_inits_are_subreapers(tmp_path: Path) -> None:
    """As in a container that may not make namespaces; what the inits leave behind is ended all the same."""
    program = ("import sys; from benchmarks import cli, namespaces; "
               "namespaces.may_make_namespaces = namespaces.may_enter_user_namespace = lambda: False; "
               "sys.exit(cli.main(sys.argv[1:]))")
    process = subprocess.Popen([sys.executable, "-c", program, "--quick", "reap", "memory", "--only",
                                "pyinit,pyinit pause", "--json", str(tmp_path / "f.json")], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert "each init is: subreaper" in output
    reap = json.loads((tmp_path / "f.json").read_text())["experiments"][0]
    assert all(row["latency_ns"]["n"] for row in reap["data"])
    assert remains(process.pid) == []

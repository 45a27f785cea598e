"""The benchmark harness works end to end: its figures exist and are plausible, and it leaves nothing behind.

No test asserts that something is fast.
"""

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

from benchmarks import cgroups, cli, generators, namespaces, procfs, tracing, user_namespaces
from pyinit.lean import MACHINES
from pyinit.linux.procfs import list_processes
from support.settings import ROOT
from support.waiting import wait_until

COMMAND = [sys.executable, "-m", "benchmarks"]
NAMESPACES = user_namespaces.may_make_namespaces() or user_namespaces.may_enter_user_namespace()

pytestmark = [pytest.mark.timeout(300),
              pytest.mark.skipif(not NAMESPACES, reason="no PID namespaces: needs root, or user namespaces")]
# Measurements of several seconds each. A plain run has only the generators, a storm of one second and the refusals.
measures = pytest.mark.everything("runs of benchmarks")


def run(*arguments: str, timeout: float = 280) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout,
                          check=False)


@measures
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


@measures
@pytest.mark.timeout(900)
def test_quick_has_every_experiment(tmp_path: Path) -> None:
    """Run with pyinit in each way, one peer, and a program that does not reap; every init would take three minutes."""
    inits = ("pyinit", "pyinit --reap kernel", "tini", "pyinit pause", "pyinit lean", "sleep (as pause v3.0)")
    found = [init for init in inits if (init != "tini" or shutil.which("tini"))
             and (init != "pyinit lean" or os.uname().machine in MACHINES)]
    done = run("--quick", "--only", ",".join(found), "--json", str(tmp_path / "f.json"), "--svg", str(tmp_path),
               timeout=880)
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


@measures
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


@measures
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


@measures
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


@pytest.mark.skipif(not user_namespaces.may_make_namespaces(), reason="needs root")
def test_zombies_are_counted_once_and_forgotten(tmp_path: Path) -> None:
    with namespaces.start(["A=1", "/bin/sleep", "60"], [sys.executable, "-IS", str(ROOT / "benchmarks/storm.py"),
                                                        "storm-test"]) as running:
        watch = procfs.ZombieWatch(running.pid)
        assert watch.count() == 0
        running.helper.ask("live 3")
        running.helper.ask("flat 5")
        wait_until(lambda: watch.count() == 5, "five zombies")
        assert (watch.count(), watch.most) == (5, 5)
        watch.known.add(2 ** 30)  # one that has been reaped since
        assert watch.count() == 5
        assert "A=1" in procfs.read(f"/proc/{running.pid}/environ").split("\0")


def test_the_main_child_has_executed_when_memory_is_read() -> None:
    """Before that, both processes share the memory that is private to the init later."""
    code = "import os, time; os.fork() or (time.sleep(0.3), os.execv('/bin/sleep', ['/bin/sleep', '60'])); os.wait()"
    process = subprocess.Popen([sys.executable, "-ISc", code])
    try:
        procfs.wait_executed(process.pid, "/bin/sleep")
        children = procfs.list_children(process.pid)
        assert [procfs.read_command(child)[0] for child in children] == ["/bin/sleep"]
    finally:
        for pid in (*procfs.list_children(process.pid), process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def test_saved_figures_are_written_again_without_a_measurement(tmp_path: Path) -> None:
    done = run("--figures", str(tmp_path), "--from", "docs/figures/run.json")
    assert done.returncode == 0, done.stderr
    folder = ROOT / "docs/figures"
    # The tables are in the documents, which test_figures.py compares.
    assert (tmp_path / "tables.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} - {"tables.md"} == {path.name for path in folder.iterdir()}
    assert [path.name for path in folder.iterdir() if path.read_text() != (tmp_path / path.name).read_text()] == []


@measures
def test_without_tracepoints_reaps_are_still_measured(tmp_path: Path) -> None:
    done = run("reap", "--quick", "--no-trace", "--only", "pyinit", "--json", str(tmp_path / "f.json"))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["how"] in ("pidfd", "polling")
    assert all(row["latency_ns"]["p50"] > 0 for row in figures["experiments"][0]["data"])


def test_storm_says_that_a_good_init_is_good() -> None:
    done = run("storm", "--rate", "300", "--seconds", "1", "--within", "60")  # whatever else the machine does
    assert done.returncode == 0, done.stdout + done.stderr
    assert "zombies left: 0" in done.stdout and "GOOD: all 800 orphans were reaped" in done.stdout
    assert "orphans" in done.stderr and "0 zombies now" in done.stderr  # its progress


@measures
@pytest.mark.parametrize("way, verdict", [
    ("nothing", "it does not reap. All 550"), ("nothing", "It did not end when its main child did"),
    ("main_only", "it reaps its main child only. All 550"), ("once_per_signal", "it leaves zombies. "),
    ("polling", "it reaps late. "), ("polling", "it may look for zombies at fixed times"),
    ("first_child", "it died. It ended with code 0"), ("without_code", "ended with code 42, and the init with code 0")])
def test_storm_says_what_is_wrong_with_an_init(way: str, verdict: str) -> None:
    wrong = ROOT / "tests/programs/wrong_init.py"
    done = run("storm", "--init", f"{sys.executable} -IS {wrong} {way}", "--rate", "50", "--seconds", "1")
    assert done.returncode == 1, done.stderr
    assert "BAD: " in done.stdout and verdict in done.stdout


@measures
def test_storm_says_that_a_pause_does_not_reap() -> None:
    done = run("storm", "--pause", "--init", "sleep 100", "--rate", "50", "--seconds", "1")
    assert done.returncode == 1
    assert "zombies left: 550" in done.stdout and "BAD: it does not reap. All 550" in done.stdout


@pytest.mark.parametrize("arguments", [
    ["nosuch"], ["--only", "nosuch"], ["--init", "x"], ["--pause", "x="], ["--from", "x"],
    ["--figures", "x", "--from", "/dev/null"],
    *(["storm", "--init", command] for command in ("", " ", "A=1", "/no/such/init", "'sh")),
    ["storm", "--rate", "-1"], ["storm", "--rate", "1_0"], ["storm", "--within", "0"], ["storm", "--seconds", "0"],
], ids=lambda arguments: ascii(" ".join(arguments))[:40])
def test_bad_input_is_named(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode in (1, 2)
    assert arguments[-1] in done.stderr and "expected" in done.stderr and "Traceback" not in done.stderr


def processes_of(harness: int) -> list[str]:
    """Return a description of each storm process of a harness, which has the harness's PID in its name."""
    found = []
    for pid in list_processes():
        try:
            words = [*procfs.read(f"/proc/{pid}/cmdline").split("\0"), procfs.read(f"/proc/{pid}/comm").strip()]
        except OSError:
            continue
        if f"storm-{harness}" in words:
            found.append(f"process {pid}: {' '.join(words)}")
    return found


def remains(harness: int) -> list[str]:
    """Return the processes, tracing instances and control groups that a harness has left."""
    found = processes_of(harness)
    if os.path.isdir(f"{tracing.TRACEFS}/instances/{tracing.PREFIX}{harness}"):
        found.append("tracing instance")
    for root in cgroups.list_roots("pids") + cgroups.list_roots("cpu"):
        found += [f"{root}/{name}" for name in os.listdir(root) if name.startswith(f"{cgroups.PREFIX}{harness}-")]
    return found


@measures
# After SIGKILL the next run removes the tracing instance, and the control groups of two experiments.
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
        if experiment != "memory":  # it starts only inits, which the check at the end of the test run would find
            wait_until(lambda: processes_of(process.pid), "a storm process by whose name what is left can be found")
        process.send_signal(number)
        if number != signal.SIGKILL:  # another signal must not disturb the cleanup
            time.sleep(0.01)
            process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    if number == signal.SIGKILL:
        wait_until(lambda: not processes_of(process.pid), "its processes to end")
        assert run("idle", "--quick", "--only", "sleep (as pause v3.0)").returncode == 0  # it cleans up
        if experiment == "incident":
            cgroups.find_root()
        if experiment == "throttle":
            cgroups.find_root(cgroups.CpuQuota)
    assert remains(process.pid) == []


def has_started_init(harness: int) -> bool:
    """Say whether a harness is in an experiment: a PID 1 below it has executed another program.

    Without root the harness itself continues in a child, as PID 1 of a namespace.
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


@pytest.fixture(params=["C", "Python"])
def storm(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Return the command of each generator."""
    if request.param == "Python":
        return [sys.executable, "-IS", str(ROOT / "benchmarks/storm.py"), "storm-test"]
    built = generators.build(str(tmp_path))
    if not built.description.startswith("C"):
        pytest.skip("no C compiler")
    return built.storm("storm-test")


@pytest.mark.skipif(not user_namespaces.may_make_namespaces(), reason="needs root")
@pytest.mark.parametrize("command, made", [("paced 500 20", 20), ("flat 20", 20), ("burst 20", 20), ("live 20", 20)])
def test_generators_make_what_they_are_told(storm: list[str], command: str, made: int) -> None:
    with namespaces.start(["/bin/sleep", "60"], storm) as running:
        before = namespaces.adopted_children(running)
        answer = running.helper.ask(command)
        assert (answer["made"], answer["refused"]) == (made, 0)
        wait_until(lambda: namespaces.adopted_children(running) == before + made, "orphans to be adopted")
        zombies = 0 if command.startswith("live") else made
        wait_until(lambda: procfs.count_zombies(running.pid) == zombies, "zombies")  # adopted first, then they exit
        assert procfs.count_zombies(running.pid) == zombies
        assert namespaces.adopted_children(running) == before + made
    assert procfs.read_state(running.pid) == ""


@pytest.mark.skipif(not user_namespaces.may_make_namespaces(), reason="needs root")
def test_a_paced_storm_follows_its_plan(storm: list[str]) -> None:
    with namespaces.start(["/bin/sleep", "60"], storm) as running:
        answer = running.helper.ask("paced 100 30")
        assert answer["end"] - answer["start"] >= 0.29e9
        assert answer["latest"] >= 0


@pytest.mark.skipif(not user_namespaces.may_make_namespaces(), reason="needs root")
def test_an_init_that_cannot_be_executed_is_named() -> None:
    with pytest.raises(namespaces.StartError, match="/no/such/init"):
        namespaces.start(["/no/such/init"])


@measures
def test_without_any_namespace_inits_are_subreapers(tmp_path: Path) -> None:
    """In a container that may not make namespaces the harness also ends the processes that the inits leave behind."""
    program = ("import sys; from benchmarks import cli, user_namespaces; "
               "user_namespaces.may_make_namespaces = user_namespaces.may_enter_user_namespace = lambda: False; "
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

"""Each file of deploy/kubernetes is accepted by the program that it is for, and its pods run and reap."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pyinit.linux.procfs import list_processes
from pyinit.zombies.cli import parse_arguments
from support.containers import BASE, PYTHON_BASE, Lab, orphans, run, wait_for_children, wait_for_zombies
from support.cri import Containerd
from support.manifests import FOLDER, need, read_manifests, violations
from support.orphans import ZOMBIES_FIRST
from support.pods import NODE, Pod
from support.proc import read_status, stop, waits_for_signals
from support.processes import python
from support.settings import NAMESPACE, ROOT
from support.waiting import wait_until

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

PROBES = 5


@pytest.fixture(scope="module")
def pod() -> dict:
    """Return the pod of pod.yaml with an image that the tests have."""
    (manifest,) = read_manifests("pod.yaml")
    manifest["spec"]["containers"][0]["image"] = BASE
    return manifest


@pytest.fixture(scope="module")
def daemonset() -> dict:
    """Return the DaemonSet of daemonset.yaml."""
    namespace, manifest = read_manifests("daemonset.yaml")
    assert (namespace["kind"], manifest["kind"]) == ("Namespace", "DaemonSet")
    assert manifest["metadata"]["namespace"] == namespace["metadata"]["name"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    return manifest


@pytest.fixture(scope="module")
def detector() -> dict:
    """Return node-problem-detector.json."""
    return json.loads((FOLDER / "node-problem-detector.json").read_text())


@pytest.fixture(scope="module")
def zombies_image(session_lab: Lab) -> str:
    """Build the DaemonSet's image from a base that already has python3, so that it needs no mirror."""
    session_lab.import_base(PYTHON_BASE, "python3")
    session_lab.build("pyinit-zombies", FOLDER / "Dockerfile.zombies", "--build-arg", f"BASE={PYTHON_BASE}",
                      context=ROOT)
    return "localhost/pyinit-zombies"


@pytest.fixture
def report(namespaces: None) -> list[str]:
    """Return the command of the report in a PID namespace whose only zombies are two children of the report."""
    return [*NAMESPACE, *python(ZOMBIES_FIRST, sys.executable, "-m", "pyinit.zombies")]


# The content of the files


def test_pod_is_restricted(pod: dict) -> None:
    assert violations(pod["spec"]) == set()
    assert pod["spec"]["shareProcessNamespace"] is True


def test_daemonset_goes_no_further_than_it_must(daemonset: dict) -> None:
    spec = daemonset["spec"]["template"]["spec"]
    assert violations(spec) == {"hostPID", "hostPath", "textfile-owner: runAsNonRoot", "textfile-owner: add"}
    assert spec["initContainers"][0]["securityContext"]["capabilities"]["add"] == ["CHOWN"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["tolerations"] == [{"operator": "Exists"}]
    labels = daemonset["spec"]["template"]["metadata"]["labels"]
    assert daemonset["spec"]["selector"]["matchLabels"].items() <= labels.items()
    writable = [mount["name"] for mount in spec["containers"][0]["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["textfile"]


def test_daemonset_names_one_user_and_one_folder(daemonset: dict) -> None:
    spec = daemonset["spec"]["template"]["spec"]
    (first,), (report,) = spec["initContainers"], spec["containers"]
    user = "{runAsUser}:{runAsGroup}".format(**report["securityContext"])
    folder = next(mount["mountPath"] for mount in report["volumeMounts"] if mount["name"] == "textfile")
    assert first["command"] == ["chown", user, folder]
    assert first["image"] == report["image"]
    assert f"USER {user}\n" in (FOLDER / "Dockerfile.zombies").read_text()


def test_node_exporter_reads_the_folder_of_the_daemonset(daemonset: dict) -> None:
    """No other program uses the folder, as the report's user may replace all of its files."""
    (path,) = [volume["hostPath"]["path"] for volume in daemonset["spec"]["template"]["spec"]["volumes"]
               if volume["name"] == "textfile"]
    assert os.path.dirname(path) == "/var/lib"  # where only root can replace it by a link
    texts = [(ROOT / "docs" / "kubernetes.md").read_text(), (FOLDER / "daemonset.yaml").read_text()]
    for text in texts:
        assert set(re.findall(r"--collector\.textfile\.directory=([\w/-]+)", text)) == {path}
    assert set(re.findall(r"(/[\w/-]+)/pyinit_zombies\.prom", texts[0])) == {path}
    assert f"\nrm -r {path} " in texts[0]


def test_daemonset_calls_the_report_as_it_is(daemonset: dict) -> None:
    container = daemonset["spec"]["template"]["spec"]["containers"][0]
    arguments = parse_arguments(container["args"])
    folders = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert arguments.prometheus and arguments.watch and not arguments.samples
    assert {arguments.cgroup, os.path.dirname(arguments.output)} == folders
    assert arguments.output.endswith(".prom")  # the collector reads no other files


def test_containerd_1_reads_its_snippet() -> None:
    config = run([need("containerd"), "--config", FOLDER / "node-pause" / "containerd-1.x.toml", "config", "dump"])
    assert re.findall(r"^ *sandbox_image = (.*)", config.stdout, re.MULTILINE) == [f'"{saved_pause()}"']


def saved_pause() -> str:
    """Return the name that the image of docs/pause.md has on a node."""
    ((*_, image),) = documented("pause.md", "   podman save ")
    return f"{image}:latest"


SNIPPETS = sorted((FOLDER / "node-pause").iterdir())


@pytest.mark.parametrize("path", SNIPPETS, ids=lambda path: path.name)
def test_snippets_name_the_image_that_the_page_saves(path: Path) -> None:
    """A snippet names only that image: with an image that the node lacks no pod would start."""
    settings = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert set(re.findall(r"[\w./-]+/pause[\w:.-]*", "\n".join(settings))) == {saved_pause()}


@pytest.mark.parametrize("path", [path for path in SNIPPETS if path.suffix in (".toml", ".conf")],
                         ids=lambda path: path.name)
def test_snippets_are_toml(path: Path) -> None:
    assert pytest.importorskip("tomllib").loads(path.read_text())


def test_page_names_the_files_of_the_runtimes() -> None:
    """The page names each file, and no file that does not exist."""
    page = (ROOT / "docs" / "pause.md").read_text()
    assert set(re.findall(r"`([\w.-]+\.(?:toml|conf|env))`", page)) == {path.name for path in SNIPPETS}


def test_detector_has_a_rule_for_each_condition(detector: dict) -> None:
    assert detector["plugin"] == "custom"
    conditions = {condition["type"]: condition["reason"] for condition in detector["conditions"]}
    assert {rule["condition"] for rule in detector["rules"]} == set(conditions)
    for rule in detector["rules"]:
        assert rule["type"] == "permanent"
        assert rule["reason"] != conditions[rule["condition"]]


def test_detector_calls_the_report_as_it_is(detector: dict) -> None:
    """The thresholds give only exit codes that the detector knows, and each call fits into its timeout."""
    settings = detector["pluginConfig"]
    for rule in detector["rules"]:
        arguments = parse_arguments(rule["args"])
        assert arguments.warn or arguments.warn_time
        assert not (arguments.critical or arguments.critical_time or arguments.output)
        assert not (arguments.json or arguments.prometheus)
        needed = (arguments.watch or 0) * ((arguments.samples or 1) - 1)
        assert needed * 1.5 < seconds(rule["timeout"]) <= seconds(settings["timeout"])
    assert seconds(settings["timeout"]) * len(detector["rules"]) <= seconds(settings["invoke_interval"])


def seconds(duration: str) -> int:
    """Return the seconds of a duration in the detector's configuration."""
    return int(re.fullmatch(r"(\d+)s", duration)[1])


def test_detector_gets_a_verdict(detector: dict, report: list[str]) -> None:
    """The verdict comes first in the output, with an exit code that the detector knows. The call for the forecast runs
    here with a shorter interval.
    """
    zombies, forecast = (rule["args"] for rule in detector["rules"])
    assert zombies[0] == "--warn" and forecast[0] == "--watch"
    for arguments, verdict, code in ((zombies, "OK", 0), (["--warn", "2"], "WARNING", 1),
                                     (["--watch", "1", *forecast[2:]], "OK", 0)):
        done = run([*report, *arguments], check=False, cwd=ROOT)
        shown = done.stdout[:detector["pluginConfig"]["max_output_length"]]
        assert re.match(rf"ZOMBIES {verdict}: 2 zombies, (\S+ used up in \S+, )?2 of ", shown)
        assert done.returncode == code


# Prometheus


def promtool(*arguments, **popen) -> str:
    """Run promtool, check that it succeeds, and return its output."""
    done = subprocess.run([need("promtool"), *map(str, arguments)], capture_output=True, text=True, cwd=FOLDER,
                          timeout=60, **popen)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", "prometheus-rules.yaml")


def test_rules_alert_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", "prometheus-rules-test.yaml")


def test_metrics(report: list[str]) -> None:
    """Prometheus accepts real metrics, which include all metrics and causes that the rules name."""
    metrics = run([*report, "--prometheus", "--watch", "1", "--samples", "2"], cwd=ROOT).stdout
    assert promtool("check", "metrics", input=metrics) == ""
    assert '\npyinit_zombies{cause="init-not-reaping"} 2\n' in metrics
    rules = (FOLDER / "prometheus-rules.yaml").read_text()
    names = set(re.findall(r"(?<![\w:])pyinit_zombi\w+|(?<![\w:])pyinit_pid_\w+", rules))
    assert len(names) >= 5 and names <= set(re.findall(r"^# TYPE (\w+) gauge", metrics, re.MULTILINE))
    causes = set(re.findall(r"[\w-]+", " ".join(re.findall(r'cause!?=~"([^"]*)"', rules))))
    assert causes and causes <= set(re.findall(r'^pyinit_zombies{cause="(.*)"}', metrics, re.MULTILINE))


# In containers


def run_probes(lab: Lab, pod: dict) -> None:
    """Run the manifest's probe PROBES times; each leaves a process. `podman exec` runs it, since podman 4.3 makes it a
    health check in which the words are no longer separate.
    """
    probe = pod["spec"]["containers"][0]["livenessProbe"]
    for _ in range(PROBES):
        lab.podman("exec", f"{pod['metadata']['name']}-web", *probe["exec"]["command"])


def play(lab: Lab, pod: dict, image: str) -> int:
    """Start the manifest's pod with an image as its pause; return the PID of its first process on this machine."""
    manifest = lab.write("kubernetes.yaml", json.dumps(pod))
    lab.podman("play", "kube", "--network", "none", manifest, infra=image.rpartition("/")[2])
    inspected = json.loads(lab.podman("pod", "inspect", pod["metadata"]["name"]).stdout)
    return lab.pid(inspected["InfraContainerID"])


def test_play_pod(lab: Lab, pod: dict, each_pause: str) -> None:
    pause = play(lab, pod, each_pause)
    wait_until(lambda: waits_for_signals(pause), "the pause to wait")
    assert read_status(pause)["Name"] == "pause"
    assert lab.podman("exec", "shop-web", "cat", "/proc/1/comm").stdout == "pause\n"
    run_probes(lab, pod)
    wait_for_children(pause, 0)


def test_play_pod_without_a_reaper(lab: Lab, pod: dict, sleep_image: str) -> None:
    init = play(lab, pod, sleep_image)
    run_probes(lab, pod)
    wait_for_zombies(init, PROBES)


def test_pod_under_containerd(node: Containerd, pod: dict) -> None:
    """Under containerd each probe ends in time and leaves a process, which the pause reaps."""
    container = pod["spec"]["containers"][0]
    probe = container["livenessProbe"]
    with Pod(node, pod) as sandbox:
        web = sandbox.create(container)
        pause = sandbox.pause()
        wait_until(lambda: waits_for_signals(pause), "the pause to wait")
        assert sandbox.probe(web, ["cat", "/proc/1/comm"])["stdout"] == b"pause\n"
        stop(pause)
        for _ in range(PROBES):
            assert sandbox.probe(web, probe["exec"]["command"], probe["timeoutSeconds"])["exit_code"] == 0
        wait_for_children(pause, PROBES)
        os.kill(pause, signal.SIGCONT)
        wait_for_children(pause, 0)
        user = str(pod["spec"]["securityContext"]["runAsUser"])
        assert sandbox.probe(web, ["id", "-u"])["stdout"].decode().strip() == user
        status = read_status(pause)
        assert (status["Uid"].split(), status["NoNewPrivs"], status["Seccomp"]) == ([user] * 4, "1", "2")


def documented(name: str, begin: str) -> list[list[str]]:
    """Return the commands of a page that begin with a text, each split into words and without that text."""
    lines = (ROOT / "docs" / name).read_text().splitlines()
    return [shlex.split(line[len(begin):], comments=True) for line in lines if line.startswith(begin)]


def test_documented_verification(node: Containerd, pod: dict, each_pause: str) -> None:
    commands = documented("pause.md", "kubectl exec shop -c web -- ")
    with Pod(node, pod) as sandbox:
        wait_until(lambda: waits_for_signals(sandbox.pause()), "the pause to wait")
        web = sandbox.create(pod["spec"]["containers"][0])
        name, command, leave = [sandbox.probe(web, command) for command in commands[:-1]]
        wait_for_children(sandbox.pause(), 0)
        look = sandbox.probe(web, commands[-1])
    assert name["stdout"] == b"pause\n"
    page = (ROOT / "docs" / "pause.md").read_text()
    documented_lines = dict(re.findall(r"^\| the (\w+) pause \| `(.*?)`", page, re.MULTILINE))
    said = re.sub(r"python3\.\d+", "python3.11", command["stdout"].decode().rstrip())
    said = re.sub(r"pause:[0-9a-f]{56}", "pause:NOTE", said)
    assert said == documented_lines["lean" if each_pause.endswith("/lean") else "Python"]
    assert (leave["exit_code"], leave["stderr"]) == (0, b"")
    assert (look["exit_code"], look["stdout"], look["stderr"]) == (1, b"", b"")


@pytest.fixture
def report_pod(daemonset: dict, tmp_path: Path) -> dict:
    """Return the DaemonSet's pod with a folder of the test for its files, and a report each second."""
    manifest = copy.deepcopy(daemonset["spec"]["template"])
    volume = next(volume for volume in manifest["spec"]["volumes"] if volume["name"] == "textfile")
    volume["hostPath"]["path"] = str(tmp_path / "textfile")
    (tmp_path / "textfile").mkdir()  # as DirectoryOrCreate does
    arguments = manifest["spec"]["containers"][0]["args"]
    arguments[:] = ["--watch=1" if argument.startswith("--watch") else argument for argument in arguments]
    return manifest


# What it reports does not depend on the pause.
@pytest.mark.parametrize("each_pause", ["pause_image"], indirect=True)
def test_daemonset_under_containerd(node: Containerd, zombies_image: str, report_pod: dict, tmp_path: Path) -> None:
    """As its user and without capabilities, the report names the pod and the container whose PID 1 does not reap."""
    node.import_image(zombies_image)
    file = tmp_path / "textfile" / "pyinit_zombies.prom"
    leaker = {"metadata": {"name": "leaker"}, "spec": {}}
    with Pod(node, leaker) as other, Pod(node, report_pod) as pod:
        web = other.create({"name": "web", "image": BASE, "command": ["sleep", "infinity"]})
        assert other.probe(web, orphans(PROBES))["stdout"] == b"adopted by 1\n"
        wait_for_zombies(other.first_process(web), PROBES)
        assert pod.namespaces()["pid"] == NODE
        assert pod.finish(pod.create(report_pod["spec"]["initContainers"][0])) == 0
        manifest = report_pod["spec"]["containers"][0]
        container = pod.create(manifest)
        wait_until(file.exists, "a report")
        metrics = file.read_text()
        assert promtool("check", "metrics", input=metrics) == ""
        labels = f'parent="sleep",cause="init-not-reaping",runtime="cri",container="{web}",pod="{other.uid}"'
        assert re.search(rf'^pyinit_zombie_group_zombies{{.*{labels}}} {PROBES}$', metrics, re.MULTILINE), metrics
        assert "\npyinit_zombie_report_unreadable 0\n" in metrics
        owner = file.stat()
        user = manifest["securityContext"]["runAsUser"]
        assert (owner.st_uid, stat.S_IMODE(owner.st_mode)) == (user, 0o644)  # node_exporter is another user
        check_privileges(node, user)
        (command,) = documented("kubernetes.md", "kubectl -n pyinit-zombies exec POD -- ")
        said = pod.probe(container, command)
        assert said["exit_code"] == 0 and b"init-not-reaping" in said["stdout"], said
        assert pod.end(container, 30) == 0
        assert pod.log(manifest) == ""
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def check_privileges(node: Containerd, user: int) -> None:
    """Check that no process of a user below containerd has a capability or can get one."""
    statuses = [read_status(pid) for pid in list_processes() if node.is_ancestor_of(pid)]
    mine = [status for status in statuses if status.get("Uid", "").split()[:1] == [str(user)]]
    assert len(mine) == 2  # pyinit and the report
    for status in mine:
        assert {status[field] for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_detector_image(lab: Lab, zombies_image: str) -> None:
    """With --target report the image keeps the base's entrypoint, and has the report where the detector calls it."""
    lab.build("detector", FOLDER / "Dockerfile.zombies", "--build-arg", f"BASE={PYTHON_BASE}", "--target", "report",
              context=ROOT)
    config = json.loads(lab.podman("image", "inspect", "localhost/detector").stdout)[0]["Config"]
    assert not config.get("Entrypoint")
    done = lab.podman("run", "--rm", "--pid", "host", "localhost/detector", "/usr/local/bin/pyinit-zombies",
                      "--warn", "100000")
    assert done.stdout.startswith("ZOMBIES OK: ")

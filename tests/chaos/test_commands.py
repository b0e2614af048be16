"""``quadra chaos``: one verdict in every format, and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from quadra_matrix.chaos.cli import chaos
from quadra_matrix.chaos.journal import Entry, Journal
from quadra_matrix.chaos.listening import listener
from quadra_matrix.chaos.undo import Command, RemoveFile
from quadra_matrix.pids import Process
from tests.chaos.conftest import ROOT, Service
from tests.services.process import free_port, wait_until


def written(folder: Path, service: Service, **options: Any) -> Path:
    """Write an experiment that takes seconds."""
    path = folder / "experiment.yaml"
    plan = {
        "name": "slow answers",
        "target": {"url": service.url, "pid": service.pid},
        "faults": [{"fault": "latency", "milliseconds": 200}],
        "hold": 2,
        "rto": 20,
        "probing": {"rate": 100, "timeout": 2, "samples": 200},
        "margins": {"slack": 0.1},
    }
    path.write_text(json.dumps({**plan, **options}))
    return path


def quadra(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(chaos, [*words, "--state", str(folder / "chaos")])


def test_a_run_says_the_same_everywhere(service: Service, tmp_path: Path) -> None:
    junit, markdown = tmp_path / "junit.xml", tmp_path / "report.md"
    plan = str(written(tmp_path, service))

    ran = quadra(tmp_path, "run", plan, "--json", "--junit", str(junit), "--markdown", str(markdown))

    (told,) = json.loads(ran.stdout)
    assert ran.exit_code == 0, ran.output
    assert told["verdict"] == "recovered"
    assert told["doses"][0]["delivery"] == "delivered"
    case = ET.fromstring(junit.read_text()).find("testcase")
    assert case is not None
    assert case.find("failure") is None
    assert "**recovered**" in markdown.read_text()
    listed = quadra(tmp_path, "history", "--json")
    assert [one["verdict"] for one in json.loads(listed.stdout)] == ["recovered"]
    assert "slow answers" in quadra(tmp_path, "history").stdout


def test_a_service_that_must_tolerate_and_does_not_has_deviated(service: Service, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    plan = str(written(tmp_path, service, expect="tolerates"))

    ran = quadra(tmp_path, "run", plan, "--junit", str(junit))

    assert ran.exit_code == 1
    assert "DEVIATED" in ran.stdout
    assert "the proxy by itself adds" in ran.stdout
    assert ET.fromstring(junit.read_text()).find("testcase/failure") is not None


@pytest.mark.slow
def test_repeated_runs_say_how_sure_they_are(service: Service, tmp_path: Path) -> None:
    ran = quadra(tmp_path, "run", str(written(tmp_path, service, hold=1)), "--repeat", "2")

    assert "of 2 runs passed; time to recover: median" in ran.stdout
    assert "need at least" in ran.stderr


def test_a_stop_condition_lifts_at_once(service: Service, tmp_path: Path) -> None:
    plan = str(written(tmp_path, service, hold=60, stop={"seconds": 0.1, "window": 1}))

    ran = quadra(tmp_path, "run", plan, "--json")

    (told,) = json.loads(ran.stdout)
    assert ran.exit_code == 1
    assert told["verdict"] == "stopped"
    assert told["seconds"] < 30


def test_a_target_that_is_away_is_not_steady_and_is_not_harmed(service: Service, tmp_path: Path) -> None:
    away = {"url": f"http://127.0.0.1:{free_port()}/"}

    ran = quadra(tmp_path, "run", str(written(tmp_path, service, target=away)))

    assert ran.exit_code == 3
    assert "before any fault" in ran.stdout


@pytest.mark.parametrize(
    ("target", "flag"),
    [
        ({"url": "http://127.0.0.1:1/", "environment": "production"}, "--allow-production"),
        ({"url": "http://192.88.99.1/"}, "--allow-public"),
    ],
    ids=["production", "public"],
)
def test_a_guard_refuses_and_names_the_way(target: dict[str, str], flag: str, service: Service, tmp_path: Path) -> None:
    ran = quadra(tmp_path, "run", str(written(tmp_path, service, target=target)))

    assert ran.exit_code == 6
    assert flag in ran.stdout


def test_what_the_machine_lacks_is_skipped(service: Service, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    plan = written(tmp_path, service, faults=[{"fault": "pause"}], target={"url": service.url})

    ran = quadra(tmp_path, "run", str(plan), "--junit", str(junit))

    assert ran.exit_code == 7
    assert ET.fromstring(junit.read_text()).find("testcase/skipped") is not None


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"faults": [{"fault": "latency", "milliseconds": -1}]}, "milliseconds"),
        ({"faults": [{"fault": "latency", "milliseconds": 1, "seconds": 1}]}, "seconds"),
        ({"faults": [{"fault": "teleport"}]}, "teleport"),
        ({"hold": 0}, "hold"),
        ({"probing": {"samples": 100}}, "samples"),
        ({"colour": "red"}, "colour"),
    ],
    ids=["milliseconds", "unknown option", "unknown fault", "hold", "too few samples", "unknown field"],
)
def test_a_file_that_is_wrong_is_refused_by_field(
    options: dict[str, Any], field: str, service: Service, tmp_path: Path
) -> None:
    plan = written(tmp_path, service, **options)

    ran = subprocess.run(
        [sys.executable, "-m", "quadra_matrix", "chaos", "run", plan], capture_output=True, text=True, cwd=tmp_path
    )

    assert ran.returncode == 2
    assert field in ran.stderr


def test_a_second_experiment_on_a_target_is_refused(service: Service, tmp_path: Path) -> None:
    with Journal(tmp_path / "chaos").locked(service.address):
        ran = quadra(tmp_path, "run", str(written(tmp_path, service)))

    assert ran.exit_code == 6
    assert "quadra chaos stop" in ran.stdout


def test_the_next_run_takes_back_what_a_dead_one_left(service: Service, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.touch()
    Journal(tmp_path / "chaos").write(Entry("dead", "x", Process(2**22, 1), (RemoveFile(str(left)),)))

    ran = quadra(tmp_path, "run", str(written(tmp_path, service)))

    assert not left.exists()
    assert "took back what run dead had left" in ran.stdout


def test_stop_ends_running_experiments_and_mends_dead_ones(service: Service, tmp_path: Path) -> None:
    left, plan = tmp_path / "left", written(tmp_path, service, hold=60)
    left.touch()
    journal = Journal(tmp_path / "chaos")
    journal.write(Entry("dead", "x", Process(2**22, 1), (RemoveFile(str(left)),)))
    words = [sys.executable, "-m", "quadra_matrix", "chaos", "run", str(plan), "--state", str(journal.folder)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "is in place" in line:
                break

        stopped = quadra(tmp_path, "stop", "--json")

        assert running.wait(30) == 143
    told = json.loads(stopped.stdout)
    assert len(told["stopped"]) == 1
    assert told["left"] == []
    assert not left.exists()


@pytest.mark.slow
def test_stop_says_what_to_type_where_a_fault_remains(tmp_path: Path) -> None:
    Journal(tmp_path / "chaos").write(Entry("dead", "x", Process(2**22, 1), (Command(["false"]),)))

    stopped = quadra(tmp_path, "stop")

    assert stopped.exit_code == 5
    assert "false" in stopped.stderr


def test_the_doctor_says_what_is_missing() -> None:
    found = json.loads(CliRunner().invoke(chaos, ["doctor", "--json"]).stdout)

    names = {one["capability"] for one in found}
    assert {"faults", "packet delay (netem)", "transparent redirect (nft)"} <= names
    assert CliRunner().invoke(chaos, ["doctor"]).exit_code == 0


def test_a_service_on_this_machine_is_found_by_its_port(service: Service) -> None:
    assert listener(service.address) == service.pid
    assert listener(f"127.0.0.1:{free_port()}") is None
    assert listener("192.0.2.1:80") is None


@pytest.mark.slow
def test_ctrl_c_at_a_terminal_leaves_nothing(service: Service, tmp_path: Path) -> None:
    """All of a foreground process group gets SIGINT, the janitor and the proxy too if they were in it."""
    plan = written(tmp_path, service, hold=60, faults=[{"fault": "pause"}])
    words = [sys.executable, "-m", "quadra_matrix", "chaos", "run", str(plan), "--state", str(tmp_path / "chaos")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "is in place" in line:
                break

        os.killpg(running.pid, signal.SIGINT)

        assert running.wait(30) == 130
    wait_until(lambda: not list(Journal(tmp_path / "chaos").entries()), "the journal to be empty", within=1.0)


@pytest.mark.slow
def test_the_promised_script_takes_the_promised_flags(service: Service, tmp_path: Path) -> None:
    script = ROOT / "scripts" / "run_chaos_tests.py"
    words = ["--test", "latency", "--latency", "300", "--duration", "3", "--base-url", f"http://{service.address}"]

    ran = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, cwd=tmp_path)

    assert ran.returncode in {0, 1}, ran.stderr  # a shared machine may be slower afterwards
    assert "added latency: asked 300 ms" in ran.stdout

"""What the commands answer when nothing runs, and when they are asked for nonsense."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from quadra_matrix.cli import main
from quadra_matrix.delivery import desk, display
from quadra_matrix.delivery.display import as_json, line
from quadra_matrix.delivery.engine import Engine, Ports
from quadra_matrix.delivery.envoy import find_envoy
from quadra_matrix.delivery.model import Finding, Kind, Observation, Phase
from quadra_matrix.delivery.plan import Plan, Step
from quadra_matrix.delivery.state import FileState
from quadra_matrix.errors import ProxyUnavailable
from quadra_matrix.testing.delivery import Behaviour, FakePlatform
from tests.services.process import free_port

COMMAND = ("--", "python", "app.py", "--port", "{port}")


def quadra(folder: Path, *words: str) -> Result:
    before, rest = (words[: words.index("--")], words[words.index("--") :]) if "--" in words else (words, ())
    return CliRunner().invoke(main, [*before, "--state", str(folder), *rest])


@pytest.mark.parametrize("words", [("canary", "status"), ("bluegreen", "status"), ("local", "status")])
def test_status_never_guesses(tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = quadra(tmp_path, *words)

    assert answer.exit_code == 5
    assert "nothing runs here; start with: quadra local up" in answer.stderr
    assert not answer.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("canary", "deploy", "v 2"), 2, "version is 'v 2'"),
        (("canary", "deploy", "v2", "--", "python", "app.py"), 2, "{port}"),
        (("canary", "deploy", "v2", *COMMAND), 5, "nothing runs here"),
        (("canary", "rollback"), 3, "there is no rollout"),
        (("canary", "promote", "v2"), 3, "there is no rollout"),
        (("canary", "scale", "120"), 2, "120"),
        (("canary", "pause"), 3, "there is no rollout"),
        (("canary", "resume"), 3, "there is no rollout"),
        (("canary", "monitor", "5"), 3, "there is no rollout"),
        (("bluegreen", "test", "pink"), 3, "'pink' is no colour"),
        (("bluegreen", "test", "green"), 3, "green runs nothing"),
        (("bluegreen", "rollback"), 3, "there is no rollout"),
        (("bluegreen", "finish"), 3, "there is no rollout"),
        (("local", "up", "v1"), 2, "given after --"),
        (("local", "up", "v1", "--hub", "ws", *COMMAND), 2, "PORT/PATH"),
        (("local", "up", "v1", "--envoy", "/nowhere", *COMMAND), 3, "/nowhere is no program"),
    ],
)
def test_nonsense_is_refused_before_anything_happens(
    tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    answer = quadra(tmp_path / "delivery", *words)

    assert answer.exit_code == code, answer.output
    assert message in answer.stderr
    assert not (tmp_path / "delivery" / "fleet.json").exists()


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", free_port())) as taken:
        answer = quadra(tmp_path, "local", "up", "v1", "--port", str(taken.getsockname()[1]), *COMMAND)

    assert answer.exit_code == 3
    assert "is taken" in answer.stderr


def test_a_plan_that_asks_needs_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("steps: [{share: 50, approve: true}]")

    answer = quadra(tmp_path, "canary", "deploy", "v2", "--plan", str(tmp_path / "plan.yaml"))

    assert answer.exit_code == 4
    assert "give --auto or --wait" in answer.stderr


def test_the_plan_says_what_it_finds_and_what_it_misses(tmp_path: Path) -> None:
    answer = quadra(tmp_path, "canary", "plan", "--rate", "1", "--error-rate", "0.001")
    document = json.loads(quadra(tmp_path, "canary", "plan", "--rate", "50", "--error-rate", "0.01", "--json").stdout)

    assert "more often missed than found" in answer.stderr
    assert document["steps"][-1]["finds_10x"] == 1.0


def test_the_schema_is_json(tmp_path: Path) -> None:
    assert json.loads(quadra(tmp_path, "canary", "plan", "--schema").stdout)["title"] == "Quadra Matrix rollout plan"


def test_the_history_of_nothing_is_empty(tmp_path: Path) -> None:
    assert json.loads(quadra(tmp_path, "canary", "history", "--json").stdout) == []


def test_a_rollout_is_shown_with_its_evidence(tmp_path: Path) -> None:
    platform = FakePlatform()
    state = FileState(tmp_path)
    ports = Ports(platform.traffic, platform.workload, platform.evidence, state, platform.outside)
    engine = Engine(ports, holder="first", clock=platform.clock)
    plan = Plan(steps=(Step(50, 20), Step(100, 20)), baseline=5)
    now = platform.clock.now()
    rollout = desk.new_rollout("r1", Kind.CANARY, plan, stable="v1", candidate="v2", now=now)
    engine.lease(lambda record: desk.began(record, rollout, now))

    ended = engine.run()

    assert ended.progress.phase is Phase.DONE
    assert json.dumps(as_json(ended), allow_nan=False)
    assert "errors 0.00% against 0.00% not worse" in line(ended, Observation(platform.traffic.route))
    assert "done" in quadra(tmp_path, "canary", "history").stdout


def test_the_live_table_shows_steps_shares_rates_and_evidence() -> None:
    platform = FakePlatform(rate=50, v1=Behaviour(error_rate=0.01), v2=Behaviour(error_rate=0.2))
    parts = (platform.traffic, platform.workload, platform.evidence, platform.state, platform.outside)
    screen = Console(file=StringIO(), force_terminal=True, width=160, record=True)
    plan = Plan(steps=(Step(10, 20), Step(100, 20)), baseline=5)
    now = platform.clock.now()
    rollout = desk.new_rollout("r1", Kind.CANARY, plan, stable="v1", candidate="v2", now=now)

    with display.live(screen) as watch:
        engine = Engine(Ports(*parts), holder="first", clock=platform.clock, watch=watch)
        engine.lease(lambda record: desk.began(record, rollout, now))
        engine.run(lambda at: at.verdict.finding is Finding.WORSE)
    shown = screen.export_text()

    assert "canary v1 to v2: watch" in shown
    assert "[now 10 %]  [95 %]" in shown
    assert "v2: 10 % of the traffic, 10 % asked" in shown
    assert re.search(r"errors +[\d.]+% to [\d.]+% of \d+ +[\d.]+% to [\d.]+% of \d+ +[\d.e+]+ of \d+", shown)
    assert "worse" in shown


def test_a_named_proxy_must_be_a_program(tmp_path: Path) -> None:
    program = tmp_path / "envoy"
    program.write_text("")

    with pytest.raises(ProxyUnavailable, match="is no program"):
        find_envoy(str(program))
    program.chmod(0o755)
    assert find_envoy(str(program)) == program

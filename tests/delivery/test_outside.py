"""Smoke tests, hooks, notifications and counters over HTTP, against a real server; plans as files."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from quadra_matrix.delivery import desk, planfile
from quadra_matrix.delivery.counters import Counters, Reading, grown_bound, since, slow_bound
from quadra_matrix.delivery.history import History, Recorder
from quadra_matrix.delivery.model import Kind, Readiness, Rollout, Route
from quadra_matrix.delivery.outside import Webhooks, World, field_of
from quadra_matrix.delivery.plan import Check, Metric, Origin, Plan, Source, Step, StepHook, When
from quadra_matrix.delivery.prometheus import evidence_of
from quadra_matrix.errors import CheckFailed, EvidenceMissing, HookFailed, InvalidValue
from quadra_matrix.events.delivery import TrafficShifted
from quadra_matrix.stats.arms import Counts
from quadra_matrix.testing.delivery import FakePlatform

METRICS = """# HELP http_requests_total Requests.
http_requests_total{status="200",path="/a \\"b\\""} 90 1700000000
http_requests_total{status="503"} 10
http_request_duration_seconds_bucket{le="0.1"} 95
http_request_duration_seconds_bucket{le="+Inf"} 100
refunds 7
broken{ NaNsense
"""


@dataclass
class Web:
    """A server that answers as told and remembers what it was sent."""

    url: str = ""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    posts: list[dict[str, object]] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[Web]:
    found = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = found.answers.get(self.path.partition("?")[0], (404, b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append(json.loads(sent))
            self.do_GET()

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def rollout() -> Rollout:
    return desk.new_rollout("r1", Kind.CANARY, Plan(), stable="v1", candidate="v2", now=0.0)


def test_checks_that_hold(web: Web) -> None:
    web.answers["/health"] = 200, b'{"status": "ok", "models": [{"name": "a"}]}'
    check = Check(fields={"status": "ok", "models.0.name": "a"})

    World().check([check, Check("/predict", "POST", body="{}", status=404)], [web.url])


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (Check("/gone"), "answered 404 instead of 200"),
        (Check(fields={"status": "up"}), "status is 'ok' instead of 'up'"),
        (Check(fields={"models.3": "a"}), "is None instead of 'a'"),
        (Check(within=1e-9), "no answer in|are allowed"),
    ],
)
def test_a_check_that_does_not_hold_says_why(web: Web, check: Check, message: str) -> None:
    web.answers["/health"] = 200, b'{"status": "ok", "models": []}'

    with pytest.raises(CheckFailed, match=message):
        World().check([check], [web.url])


def test_checks_without_an_instance_do_not_hold() -> None:
    with pytest.raises(CheckFailed, match="no instance"):
        World().check([Check()], [])


def test_an_answer_without_json_has_no_fields() -> None:
    assert field_of(b"<html>", "status") is None


def test_a_web_hook_gets_the_rollout(web: Web) -> None:
    web.answers["/hook"] = 200, b"thanks"

    World().run([StepHook(When.BEFORE, url=f"{web.url}/hook")], rollout())

    assert web.posts[0]["candidate"] == "v2"


def test_a_web_hook_that_refuses_fails(web: Web) -> None:
    with pytest.raises(HookFailed, match="404"):
        World().run([StepHook(When.BEFORE, url=f"{web.url}/hook")], rollout())


def test_a_command_hook_gets_the_rollout(tmp_path: Path) -> None:
    place = tmp_path / "rollout.json"
    code = f"import os; open({str(place)!r}, 'w').write(os.environ['QUADRA_ROLLOUT'])"

    World().run([StepHook(When.AFTER, command=(sys.executable, "-c", code))], rollout())

    assert json.loads(place.read_text())["rollout"] == "r1"


@pytest.mark.parametrize(
    ("code", "message"),
    [("import sys; sys.exit('no thanks')", "ended with 1: no thanks"), ("while True: pass", "did not end in 0.3 s")],
)
def test_a_command_hook_that_fails_says_why(code: str, message: str) -> None:
    hook = StepHook(When.AFTER, command=(sys.executable, "-c", code), timeout=0.3 if "while" in code else 30)

    with pytest.raises(HookFailed, match=message):
        World().run([hook], rollout())


def test_events_are_posted_in_order_and_failures_change_nothing(web: Web) -> None:
    web.answers["/events"] = 204, b""
    hooks = Webhooks([f"{web.url}/gone", f"{web.url}/events"])

    for share in (10.0, 25.0):
        hooks(TrafficShifted("r1", "v2", share, share))
    hooks.close()

    assert [post["share"] for post in web.posts] == [10.0, 10.0, 25.0, 25.0]
    assert web.posts[0]["event"] == "TrafficShifted"


class At:
    """Instances at an address."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    def ready(self, version: str) -> Readiness:
        return Readiness(len(self._addresses), 1, 0, self._addresses)


def test_counters_are_scraped_from_the_instances(web: Web) -> None:
    web.answers["/metrics"] = 200, METRICS.encode()
    plan = Plan(evidence=Source(Origin.METRICS), metrics=(Metric("refunds"),))

    reading = evidence_of(plan, FakePlatform().evidence, At(web.url)).read("v2")

    assert reading.instances[web.url] == Counters(100, 10, {100.0: 5}, 100, {"refunds": 7})


def test_own_counters_stand_beside_those_of_the_traffic(web: Web) -> None:
    web.answers["/metrics"] = 200, METRICS.encode()
    plan = Plan(metrics=(Metric("refunds"),))

    reading = evidence_of(plan, FakePlatform().evidence, At(web.url)).read("v1")

    total = since(Reading(), reading)
    assert (total.requests, total.custom) == (0, {"refunds": 7})


def test_a_prometheus_server_is_asked_for_raw_counters(web: Web) -> None:
    sample = {"metric": {"__name__": "http_requests_total", "instance": "a:1", "status": "500"}, "value": [1, "12"]}
    answer = {"status": "success", "data": {"resultType": "vector", "result": [sample]}}
    web.answers["/api/v1/query"] = 200, json.dumps(answer).encode()
    plan = Plan(evidence=Source(Origin.PROMETHEUS, url=web.url))

    reading = evidence_of(plan, FakePlatform().evidence, At()).read("v2")

    assert reading.instances["a:1"].errors % 12 == 0


def test_a_source_that_does_not_answer_is_missing_evidence(web: Web) -> None:
    nothing = {"status": "success", "data": {"resultType": "vector", "result": []}}
    web.answers["/api/v1/query"] = 200, json.dumps(nothing).encode()
    traffic = FakePlatform().evidence

    for plan, instances in [
        (Plan(evidence=Source(Origin.PROMETHEUS, url=web.url)), At()),
        (Plan(evidence=Source(Origin.METRICS)), At()),
        (Plan(evidence=Source(Origin.METRICS)), At(web.url)),
    ]:
        with pytest.raises(EvidenceMissing):
            evidence_of(plan, traffic, instances).read("v2")


def test_the_promised_steps_are_the_default(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("")

    plan = planfile.load(tmp_path / "plan.yaml")

    assert [(step.share, step.seconds) for step in plan.steps] == [(share, 120) for share in (10, 25, 50, 75, 100)]
    assert plan.limits.error_rate == 0.05


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: []", "stepz"),
        ("steps: [{share: 120}]", r"steps\.0.* it must be above 0 and at most 100"),
        ("steps: [{share: 50}, {share: 25}]", "in rising order"),
        ("tick: soon", "tick is 'soon'"),
        ("{", "YAML"),
        ("evidence: {origin: prometheus}", "address of the Prometheus server"),
        ("sticky_cookie: 'a b'", "letters, digits"),
        ("hooks: [{when: before}]", "one of url and command"),
        ("evidence: {failed: '('}", "a regular expression"),
    ],
)
def test_a_wrong_plan_names_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)

    with pytest.raises(InvalidValue, match=message):
        planfile.load(tmp_path / "plan.yaml")


def test_a_plan_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="a file that can be read"):
        planfile.load(tmp_path / "plan.yaml")


def test_the_schema_describes_every_option() -> None:
    schema = planfile.schema()

    assert schema["properties"]["tick"]["description"] == "Seconds between two looks."
    assert schema["additionalProperties"] is False


def test_a_plan_written_out_is_the_same_plan() -> None:
    plan = Plan(steps=(Step(5), Step(50, approve=True)), metrics=(Metric("refunds", relative=1.5),), mirror=10)

    assert planfile.parse(planfile.as_document(plan)) == plan


def test_a_restarted_instance_counts_from_zero() -> None:
    before = Reading({"a": Counters(100, 5), "b": Counters(50, 0)})
    after = Reading({"a": Counters(30, 1), "b": Counters(60, 0), "c": Counters(7, 7)})

    assert since(before, after) == Counters(47, 8)
    assert since(None, after) == Counters()


def test_quantiles_need_requests_and_bounds() -> None:
    slower = {10.0: 60, 20.0: 50, 50.0: 10}

    assert slow_bound(Counters(1000, 0, slower, 1000), 0.95) == 20.0
    assert slow_bound(Counters(100, 0, slower, 100), 0.95) is None
    assert slow_bound(Counters(1000), 0.95) is None
    assert grown_bound(slower, 20.0, 1.2) == 50.0
    assert grown_bound(slower, 50.0, 1.2) is None


def test_history_is_written_while_one_version_has_all_the_traffic(tmp_path: Path) -> None:
    platform, history = FakePlatform(), History(tmp_path)
    recorder = Recorder(history, platform.traffic, platform.evidence)
    for _ in range(4):
        recorder.look(platform.clock.monotonic())
        platform.clock.advance(5)
    whole = len(history.ticks())
    platform.workload.start("v2")
    platform.clock.advance(5)
    platform.traffic.write(Route({"v1": 50.0, "v2": 50.0}), platform.traffic.read().revision)
    for _ in range(3):
        recorder.look(platform.clock.monotonic())
        platform.clock.advance(5)

    assert whole == 3
    assert history.ticks() == (Counts(500, 0),) * 3


def test_a_broken_history_starts_again(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text("[[1]]")

    assert History(tmp_path).ticks() == ()

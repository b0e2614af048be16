"""Real processes, a real proxy, real requests: what a user sees of good, bad, slow and crashing versions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request

import pytest

from quadra_matrix.delivery.local import LocalEvidence, LocalTraffic
from quadra_matrix.delivery.model import Route
from tests.delivery.conftest import Local
from tests.delivery.load import steady
from tests.services.process import wait_until

pytestmark = pytest.mark.slow


def test_a_good_version_is_promoted_without_a_failed_request(local: Local) -> None:
    with steady(local.port, rate=300) as load:
        ended = local.run(local.deploy("canary", "v2"))

    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert local.shares() == {"v2": 100}
    assert not load.failures
    assert load.answers["v2"] > 100
    assert json.loads(local.quadra("canary", "history", "--json").stdout)[0]["outcome"] == "done"


def test_a_version_that_fails_goes_back(local: Local) -> None:
    with steady(local.port, rate=300) as load:
        ended = local.run(local.deploy("canary", "v2", "--fail", "0.2"))

    assert ended.returncode == 1, ended.stderr + ended.stdout
    assert "errors: " in ended.stdout
    assert local.shares() == {"v1": 100}
    assert set(load.failures) == {"500"}


def test_a_slow_version_goes_back(local: Local) -> None:
    with steady(local.port, rate=300, threads=8) as load:
        ended = local.run(local.deploy("canary", "v2", "--delay", "60"))

    assert ended.returncode == 1, ended.stderr + ended.stdout
    assert "latency: " in ended.stdout
    assert not load.failures


def test_a_crashing_version_never_gets_traffic(local: Local) -> None:
    with steady(local.port, rate=50) as load:
        ended = local.run(local.deploy("canary", "v2", "--die-after", "0.3"))

    assert ended.returncode == 1, ended.stderr + ended.stdout
    assert not load.answers["v2"]
    assert not load.failures


def test_killed_in_mid_rollout_it_resumes(local: Local) -> None:
    """Supervisor and rollout die at once, without a chance to say goodbye; versions and proxy go on."""
    with steady(local.port, rate=300) as load:
        rollout = subprocess.Popen(local.deploy("canary", "v2"), stdout=subprocess.DEVNULL)
        wait_until(lambda: local.shares().get("v2", 0) > 0, "traffic on v2")
        rollout.send_signal(signal.SIGKILL)
        local.supervisor.send_signal(signal.SIGKILL)
        rollout.wait(10)
        shares = local.shares()
        ended = local.quadra("canary", "resume")

    assert 0 < shares["v2"] < 100
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert local.shares() == {"v2": 100}
    assert not load.failures


def test_a_rollback_from_another_terminal_wins(local: Local) -> None:
    with steady(local.port, rate=300):
        rollout = subprocess.Popen(local.deploy("canary", "v2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until(lambda: local.shares().get("v2", 0) > 0, "traffic on v2")
        refused = local.run(local.deploy("canary", "v3"))
        back = local.quadra("canary", "rollback")
        said = rollout.communicate(timeout=30)[1].decode()

    assert refused.returncode == 3
    assert "is under way, held by" in refused.stderr
    assert back.returncode == 0, back.stderr + back.stdout
    assert rollout.returncode == 1
    assert "rolled back by" in said
    assert local.shares() == {"v1": 100}


def test_blue_green_needs_an_answer_switches_and_goes_back(local: Local) -> None:
    with steady(local.port, rate=300) as load:
        offered = local.run(local.deploy("bluegreen", "v2"))
        tested = local.quadra("bluegreen", "test", "green")
        switched = local.quadra("bluegreen", "switch")
        status = json.loads(local.quadra("bluegreen", "status", "--json").stdout)
        back = local.quadra("bluegreen", "rollback")
        again = local.quadra("bluegreen", "rollback")

    assert [one.returncode for one in (offered, tested, switched, back, again)] == [4, 0, 0, 0, 3]
    assert status["active"] == "green"
    assert local.shares() == {"v1": 100}
    assert not load.failures


def test_a_killed_version_costs_only_what_it_was_answering(local: Local) -> None:
    """The other colour stands by in the proxy, and the supervisor starts the dead one again."""
    local.run(local.deploy("bluegreen", "v2", options=("--auto",)))
    with steady(local.port, rate=200) as load:
        wait_until(lambda: load.answers["v2"] > 50, "answers of v2")
        os.kill(local.machine.read().deployed["v2"].instances[0].process.pid, signal.SIGKILL)
        wait_until(lambda: local.machine.read().deployed["v2"].instances[0].restarts == 1, "another v2")
        before = load.answers["v2"]
        wait_until(lambda: load.answers["v2"] > before + 50, "answers of v2 again")

    assert sum(load.failures.values()) <= 4  # one for each client


def test_the_proxy_comes_back_with_its_route(local: Local) -> None:
    local.run(local.deploy("canary", "v2", options=("--manual",)))
    local.quadra("canary", "scale", "30")
    first = local.machine.read().proxy
    assert first is not None

    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: local.machine.proxy.is_live() and local.machine.read().proxy != first, "another proxy")

    assert local.shares() == {"v1": 70, "v2": 30}


def test_a_version_can_be_asked_for_by_header(local: Local) -> None:
    local.run(local.deploy("bluegreen", "v2"))
    asked = urllib.request.Request(f"http://127.0.0.1:{local.port}/", headers={"x-quadra-version": "v2"})

    with urllib.request.urlopen(asked, timeout=5) as answer:
        assert answer.read() == b"v2"
    assert local.shares() == {"v1": 100}


def cookie_of(local: Local) -> tuple[str, bytes]:
    """Ask as a newcomer; return the cookie and who answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{local.port}/", timeout=5) as answer:
        return answer.headers["set-cookie"].partition(";")[0], answer.read()


def asks(local: Local, cookie: str) -> bytes:
    asked = urllib.request.Request(f"http://127.0.0.1:{local.port}/", headers={"Cookie": f"a=b; {cookie}"})
    with urllib.request.urlopen(asked, timeout=5) as answer:
        body: bytes = answer.read()
        return body


def test_a_user_stays_on_one_version_while_the_share_grows(local: Local) -> None:
    """Nobody who got the new version is sent back to the old one by a larger share."""
    local.run(local.deploy("bluegreen", "v2"))
    traffic = LocalTraffic(local.machine)
    traffic.write(Route({"v2": 30.0, "v1": 70.0}, sticky_cookie="quadra"), traffic.read().revision)
    users = [cookie_of(local) for _ in range(60)]

    same = [asks(local, cookie) == version for cookie, version in users]
    traffic.write(Route({"v2": 60.0, "v1": 40.0}, sticky_cookie="quadra"), traffic.read().revision)
    kept = [asks(local, cookie) for cookie, version in users if version == b"v2"]

    assert all(same)
    assert kept
    assert set(kept) == {b"v2"}


def test_mirrored_requests_reach_the_candidate_and_nobody_sees_them(local: Local) -> None:
    local.run(local.deploy("bluegreen", "v2"))
    traffic, evidence = LocalTraffic(local.machine), LocalEvidence(local.machine)
    traffic.write(Route({"v1": 100.0}, mirror_to="v2", mirror=100.0), traffic.read().revision)

    answers = {asks(local, "") for _ in range(20)}

    assert answers == {b"v1"}
    wait_until(lambda: sum(one.requests for one in evidence.read("v2").instances.values()) == 20, "20 copies")

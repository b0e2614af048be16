"""A disk that takes nothing more: the kernel refuses every write of the process, as on a full disk."""

from __future__ import annotations

import resource
import subprocess

import pytest

from tests.delivery.conftest import Local
from tests.delivery.load import steady
from tests.services.process import wait_until

pytestmark = pytest.mark.slow


def test_a_deploy_that_cannot_be_stored_touches_nothing(local: Local) -> None:
    words = local.deploy("canary", "v2")

    ended = local.run(["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *words])

    assert ended.returncode == 3, ended.stderr
    assert "cannot be written: File too large" in ended.stderr
    assert list(local.machine.read().deployed) == ["v1"]
    assert local.shares() == {"v1": 100}


def test_a_disk_that_fills_up_in_mid_rollout_stops_it_where_it_is(local: Local) -> None:
    """The share stays, the message says why, and after the disk has room again the rollout goes on."""
    with steady(local.port, rate=300) as load:
        rollout = subprocess.Popen(
            local.deploy("canary", "v2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: local.shares().get("v2", 0) > 0, "traffic on v2")
        resource.prlimit(rollout.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        before = local.shares()
        said = rollout.communicate(timeout=60)[1]
        after = local.shares()
        ended = local.quadra("canary", "resume")

    assert rollout.returncode == 5, said
    assert "rollout.json cannot be written: File too large; the traffic stays where it is" in said
    assert "Traceback" not in said
    assert after == before
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert not load.failures

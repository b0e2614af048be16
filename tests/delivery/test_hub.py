"""A real WebSocket through the proxy: the hub shares the origin of the versions, and their traffic is not its own."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from quadra_matrix.delivery.local import Machine
from tests.delivery.conftest import QUADRA, Local, command, is_ready
from tests.services.process import free_port, running

pytestmark = pytest.mark.slow


def echo(socket: ServerConnection) -> None:
    """Answer every message with the path that was asked for and the message."""
    assert socket.request is not None
    for message in socket:
        socket.send(f"{socket.request.path} {message!s}")


@contextmanager
def echoing() -> Iterator[int]:
    """Run a hub that echoes, and yield its port."""
    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def beside_a_hub(tmp_path: Path) -> Iterator[Local]:
    """Run ``v1`` behind the proxy, with a hub below ``/ws``."""
    folder, port = tmp_path / "delivery", free_port()
    words = [*QUADRA, "local", "up", "v1", "--state", str(folder), "--port", str(port)]
    try:
        with (
            echoing() as hub,
            running(
                [*words, "--hub", f"{hub}/ws", "--", *command()],
                log=tmp_path / "up.log",
                ready=lambda: is_ready(folder, "v1"),
            ) as supervisor,
        ):
            yield Local(folder, port, supervisor)
    finally:
        Machine(folder).down()


def test_a_socket_lives_through_a_whole_rollout(beside_a_hub: Local) -> None:
    """Weights, a new version and the end of the old one change files of the proxy; none of it touches the socket."""
    local = beside_a_hub
    heard: list[str | bytes] = []

    def says(message: str) -> None:
        socket.send(message)
        heard.append(socket.recv(timeout=5))

    with connect(f"ws://127.0.0.1:{local.port}/ws/jobs?after=7") as socket:
        says("before")
        local.run(local.deploy("canary", "v2", options=("--manual",)))
        scaled = local.quadra("canary", "scale", "30")
        shares = local.shares()
        says("at 30 %")
        promoted = local.quadra("canary", "promote", "v2")
        says("after v1 is stopped")

    assert [scaled.returncode, promoted.returncode] == [0, 0], scaled.stderr + promoted.stderr
    assert (shares, local.shares()) == ({"v1": 70, "v2": 30}, {"v2": 100})
    assert heard == [f"/ws/jobs?after=7 {message}" for message in ("before", "at 30 %", "after v1 is stopped")]


def test_the_other_paths_are_the_versions(beside_a_hub: Local) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{beside_a_hub.port}/", timeout=5) as answer:
        found = answer.read()

    assert found == b"v1"

"""What goes wrong on purpose."""

from __future__ import annotations

import http.client
import time

import pytest

from quadra_matrix.errors import InvalidValue
from quadra_matrix.testing.kubernetes import FakeKubernetes, Fault
from tests.testing.kubernetes.conftest import CORE, Client
from tests.testing.kubernetes.manifests import config_map


def test_a_fault_meets_as_many_requests_as_it_was_told(cluster: FakeKubernetes, client: Client) -> None:
    cluster.create(config_map())
    cluster.faults.add(Fault(500), verb="get", resource="configmaps", name="state", times=2)

    codes = [client.call("GET", f"{CORE}/configmaps/state").code for _ in range(3)]

    assert codes == [500, 500, 200]
    assert client.call("GET", f"{CORE}/configmaps").code == 200


def test_a_conflict_may_be_ordered(cluster: FakeKubernetes, client: Client) -> None:
    cluster.create(config_map(a="1"))
    cluster.faults.add(Fault(409), verb="patch")

    refused = client.patch(f"{CORE}/configmaps/state", {"data": {"a": "2"}})

    assert (refused.code, refused.body["reason"]) == (409, "Conflict")
    assert client.get(f"{CORE}/configmaps/state")["data"] == {"a": "1"}


def test_an_answer_may_be_lost_after_the_deed(cluster: FakeKubernetes, client: Client) -> None:
    cluster.faults.add(Fault(cut="after"), verb="create")

    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        client.call("POST", f"{CORE}/configmaps", config_map())

    assert client.call("GET", f"{CORE}/configmaps/state").code == 200


def test_a_connection_may_be_cut_before_the_deed(cluster: FakeKubernetes, client: Client) -> None:
    cluster.faults.add(Fault(cut="before"), verb="create")

    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        client.call("POST", f"{CORE}/configmaps", config_map())

    assert client.call("GET", f"{CORE}/configmaps/state").code == 404
    assert cluster.requests[0].code == 0


def test_an_answer_may_be_slow(cluster: FakeKubernetes, client: Client) -> None:
    cluster.faults.add(Fault(delay=0.2), times=1)

    began = time.monotonic()
    client.call("GET", f"{CORE}/configmaps")

    assert time.monotonic() - began >= 0.2


def test_an_open_watch_may_be_cut(cluster: FakeKubernetes, client: Client) -> None:
    connection = http.client.HTTPConnection(client.address.removeprefix("http://"), timeout=10)
    connection.request("GET", f"{CORE}/configmaps?watch=1")
    answer = connection.getresponse()

    cluster.cut()

    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        answer.read()
    connection.close()


def test_faults_may_be_taken_back(cluster: FakeKubernetes, client: Client) -> None:
    cluster.faults.add(Fault(500), times=float("inf"))
    cluster.faults.clear()

    assert client.call("GET", f"{CORE}/configmaps").code == 200


def test_a_wrong_kind_of_cut_is_refused() -> None:
    with pytest.raises(InvalidValue, match="before, after or empty"):
        Fault(cut="sometimes")

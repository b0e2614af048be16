"""The job table and its log: one contract, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from quadra_matrix.errors import KeyReused, QueueFull, UnknownJob
from quadra_matrix.service.jobs import machine
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.jobs import SqlJobs
from quadra_matrix.store import Job, JobState, new_id
from quadra_matrix.store.jobs import fingerprint
from quadra_matrix.testing import FakeClock

NOW, LEASE = 1000.0, 6.0


def job(at: float = NOW, *, kind: str = "train", key: str | None = None) -> Job:
    return Job(new_id(at), kind, created=at, key=key)


def add(store: SqlJobs, made: Job, *, queue_limit: int = 9, **request: object) -> Job:
    return store.add(replace(made, fingerprint=fingerprint(request)), request, queue_limit=queue_limit)


@pytest.fixture
def store(database: Database) -> SqlJobs:
    return SqlJobs(database, FakeClock(now=NOW))


def test_a_job_comes_back_as_it_was_kept(store: SqlJobs) -> None:
    full = replace(job(key="k"), about={"model": "m"}, metrics={"auc": 0.9}, result={"version": 1}, error="e")

    kept = add(store, full, rows=[[1, 2.5, None]])

    assert store.get(full.id) == kept
    assert store.request(full.id) == {"rows": [[1, 2.5, None]]}


def test_an_unknown_job_is_named(store: SqlJobs) -> None:
    with pytest.raises(UnknownJob, match="'nobody'"):
        store.get("nobody")
    with pytest.raises(UnknownJob):
        store.change("nobody", lambda found: found)
    with pytest.raises(UnknownJob):
        store.request("nobody")


def test_one_key_makes_one_job(store: SqlJobs) -> None:
    first = add(store, job(key="k"), model="a", queue_limit=1)

    assert add(store, job(key="k"), model="a", queue_limit=1) == first
    with pytest.raises(KeyReused, match=first.id):
        add(store, job(key="k"), model="b", queue_limit=9)
    assert len(store.list()) == 1


def test_one_key_makes_one_job_when_many_ask_at_once(store: SqlJobs) -> None:
    made: list[Job] = []
    asking = [
        threading.Thread(target=lambda: made.append(add(store, job(key="k"), model="a", queue_limit=1)))
        for _ in range(8)
    ]

    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)

    assert (len(made), len({one.id for one in made}), len(store.list())) == (8, 1, 1)


def test_the_queue_is_bounded(store: SqlJobs) -> None:
    first = add(store, job(), queue_limit=1)

    with pytest.raises(QueueFull, match="1 jobs wait"):
        add(store, job(), queue_limit=1)
    store.change(first.id, lambda found: machine.claim(found, owner="r", now=NOW, lease=LEASE))
    add(store, job(), queue_limit=1)

    assert store.counts()[JobState.QUEUED] == 1
    assert store.counts()[JobState.STARTING] == 1
    assert store.counts()[JobState.FAILED] == 0


def test_lists_the_newest_first_page_by_page(store: SqlJobs) -> None:
    made = [add(store, job(NOW + number), queue_limit=9) for number in range(4)]
    store.change(made[3].id, lambda found: machine.ask_to_cancel(found, now=NOW))

    assert [one.id for one in store.list(limit=2)] == [made[3].id, made[2].id]
    assert [one.id for one in store.list(before=made[2].id)] == [made[1].id, made[0].id]
    assert [one.id for one in store.list(states=[JobState.CANCELLED])] == [made[3].id]


def test_hands_out_the_oldest_waiting_job_of_its_kinds(store: SqlJobs) -> None:
    add(store, job(NOW, kind="other"), queue_limit=9)
    second = add(store, job(NOW + 2), queue_limit=9)
    first = add(store, job(NOW + 1), queue_limit=9)

    assert [one.id for one in store.waiting(["train"], 5)] == [first.id, second.id]
    assert [one.id for one in store.waiting(["train"], 1)] == [first.id]


def test_every_change_that_matters_is_in_the_log(store: SqlJobs) -> None:
    made = add(store, job(), queue_limit=1)
    store.change(made.id, lambda found: machine.claim(found, owner="r", now=NOW, lease=LEASE))
    store.change(made.id, lambda found: machine.begin(found, holder="h", now=NOW, lease=LEASE))
    store.change(made.id, lambda found: machine.renew(found, holder="h", now=NOW + 1, lease=LEASE))
    store.change(
        made.id, lambda found: machine.progress(found, holder="h", phase="fit", fraction=0.5, metrics={"loss": 1.0})
    )
    store.change(made.id, lambda found: machine.succeed(found, holder="h", result={"version": 1}, now=NOW))

    log = store.read(0)

    assert [event.type for event in log] == [
        "job.queued", "job.starting", "job.running", "job.progress", "job.succeeded"
    ]  # fmt: skip
    assert log[3].data["metrics"] == {"loss": 1.0}
    assert log[4].data["result"] == {"version": 1}
    assert {(event.job, event.time) for event in log} == {(made.id, NOW)}
    assert store.latest() == log[-1].sequence


def test_reads_the_log_after_a_number_and_of_one_job(store: SqlJobs) -> None:
    assert store.latest() == 0
    one, other = add(store, job(), queue_limit=9), add(store, job(), queue_limit=9)
    store.change(one.id, lambda found: machine.ask_to_cancel(found, now=NOW))

    first, second, third = store.read(0)

    assert [event.sequence for event in store.read(first.sequence)] == [second.sequence, third.sequence]
    assert [event.sequence for event in store.read(0, job=one.id)] == [first.sequence, third.sequence]
    assert [event.job for event in store.read(first.sequence, job=other.id)] == [other.id]
    assert [event.sequence for event in store.read(0, limit=1)] == [first.sequence]


def test_a_decision_that_raises_changes_nothing(store: SqlJobs) -> None:
    made = add(store, job(), queue_limit=1)

    with pytest.raises(RuntimeError):
        store.change(made.id, _explode)

    assert store.get(made.id) == made
    assert len(store.read(0)) == 1


def _explode(found: Job) -> Job:
    raise RuntimeError("decision bug")


def test_a_follower_of_the_log_misses_nothing_while_many_write(store: SqlJobs) -> None:
    """Numbers become visible in order: a reader that asks only for later ones sees every one, once."""
    writers = [threading.Thread(target=_write_some, args=(store, 20)) for _ in range(4)]
    seen: list[int] = []

    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen += [event.sequence for event in store.read(seen[-1] if seen else 0)]
    seen += [event.sequence for event in store.read(seen[-1] if seen else 0)]

    assert seen == [event.sequence for event in store.read(0, limit=1000)]
    assert len(seen) == 4 * 20 * 2


def _write_some(store: SqlJobs, number: int) -> None:
    for _ in range(number):
        made = add(store, job(), queue_limit=1000)
        store.change(made.id, lambda found: machine.ask_to_cancel(found, now=NOW))

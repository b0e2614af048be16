"""The life of a job, by example and by every sequence of moves that Hypothesis finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.errors import JobLost, JobOver, JobRefused
from quadra_matrix.service.jobs import machine
from quadra_matrix.store.jobs import Job, JobState, announced, event_data

NOW, LEASE = 1000.0, 6.0
QUEUED = Job("0" * 32, "train", created=NOW)
STARTING = machine.claim(QUEUED, owner="runner", now=NOW, lease=LEASE)
RUNNING = machine.begin(STARTING, holder="mine", now=NOW, lease=LEASE)
CANCELLING = machine.ask_to_cancel(RUNNING, now=NOW)
SUCCEEDED = machine.succeed(RUNNING, holder="mine", result={"version": 1}, now=NOW)


def test_a_job_goes_from_the_queue_to_success() -> None:
    reported = machine.progress(RUNNING, holder="mine", phase="fit", fraction=0.5, metrics={"loss": 0.2})
    done = machine.succeed(reported, holder="mine", result={"version": 3}, now=NOW + 9)

    assert (STARTING.state, RUNNING.state, RUNNING.started) == ("starting", "running", NOW)
    assert (done.state, done.result, done.fraction, done.finished) == ("succeeded", {"version": 3}, 1.0, NOW + 9)
    assert done.lease_until is None


def test_only_a_waiting_job_can_be_claimed() -> None:
    with pytest.raises(JobLost, match="starting"):
        machine.claim(STARTING, owner="other", now=NOW, lease=LEASE)


def test_work_begins_only_once() -> None:
    with pytest.raises(JobLost):
        machine.begin(RUNNING, holder="other", now=NOW, lease=LEASE)


def test_a_holder_that_was_replaced_is_refused() -> None:
    moves: list[Callable[[], Job]] = [
        lambda: machine.renew(RUNNING, holder="old", now=NOW, lease=LEASE),
        lambda: machine.progress(RUNNING, holder="old", phase="fit", fraction=0.1, metrics={}),
        lambda: machine.succeed(RUNNING, holder="old", result={}, now=NOW),
        lambda: machine.fail(RUNNING, holder="old", error="", now=NOW),
        lambda: machine.process_ended(RUNNING, holder="old", error="", now=NOW),
    ]

    for move in moves:
        with pytest.raises(JobLost):
            move()


def test_a_claim_is_kept_until_somebody_holds_the_job() -> None:
    kept = machine.keep_claim(STARTING, owner="runner", now=NOW + 5, lease=LEASE)

    assert kept.lease_until == NOW + 11
    assert machine.keep_claim(RUNNING, owner="runner", now=NOW + 5, lease=LEASE) is RUNNING
    with pytest.raises(JobLost):
        machine.keep_claim(STARTING, owner="other", now=NOW, lease=LEASE)


def test_the_lease_moves_and_nobody_hears() -> None:
    renewed = machine.renew(RUNNING, holder="mine", now=NOW + 2, lease=LEASE)

    assert renewed.lease_until == NOW + 8
    assert announced(RUNNING, renewed) is None


def test_the_fraction_never_goes_back_or_past_one() -> None:
    half = machine.progress(RUNNING, holder="mine", phase="fit", fraction=0.5, metrics={})

    assert machine.progress(half, holder="mine", phase="fit", fraction=0.2, metrics={}).fraction == 0.5
    assert machine.progress(half, holder="mine", phase="fit", fraction=7.0, metrics={}).fraction == 1.0


def test_a_job_that_has_no_process_yet_is_cancelled_at_once_and_gets_none() -> None:
    cancelled = machine.ask_to_cancel(STARTING, now=NOW)

    assert cancelled.state is JobState.CANCELLED
    assert machine.ask_to_cancel(QUEUED, now=NOW).state is JobState.CANCELLED
    with pytest.raises(JobLost):
        machine.begin(cancelled, holder="mine", now=NOW, lease=LEASE)


def test_a_running_job_is_cancelled_when_its_process_ended() -> None:
    ended = machine.process_ended(CANCELLING, holder="mine", error="killed by signal 15", now=NOW)

    assert (ended.state, ended.error) == (JobState.CANCELLED, None)


def test_work_that_was_done_before_the_cancel_stays_done() -> None:
    assert machine.succeed(CANCELLING, holder="mine", result={}, now=NOW).state is JobState.SUCCEEDED


def test_cancelling_twice_is_one_cancel() -> None:
    assert machine.ask_to_cancel(CANCELLING, now=NOW) is CANCELLING


def test_a_job_that_ended_cannot_be_cancelled() -> None:
    with pytest.raises(JobOver, match="succeeded already"):
        machine.ask_to_cancel(SUCCEEDED, now=NOW)


def test_a_process_that_dies_silently_fails_its_job() -> None:
    ended = machine.process_ended(RUNNING, holder="mine", error="killed by signal 9", now=NOW)

    assert (ended.state, ended.error) == (JobState.FAILED, "killed by signal 9")
    assert machine.process_ended(SUCCEEDED, holder="mine", error="exit 0", now=NOW) is SUCCEEDED


def test_a_job_whose_lease_ran_out_is_interrupted() -> None:
    assert machine.expire(RUNNING, now=NOW + 5.9) is RUNNING
    assert machine.expire(QUEUED, now=NOW + 99) is QUEUED
    assert machine.expire(RUNNING, now=NOW + 6).state is JobState.INTERRUPTED
    assert machine.expire(CANCELLING, now=NOW + 6).state is JobState.CANCELLED
    assert machine.interrupt(SUCCEEDED, because="stop", now=NOW) is SUCCEEDED


def test_events_tell_state_and_progress() -> None:
    failed = machine.fail(RUNNING, holder="mine", error="no rows", now=NOW)

    assert announced(None, QUEUED) == "job.queued"
    assert announced(QUEUED, STARTING) == "job.starting"
    assert announced(RUNNING, replace(RUNNING, phase="fit")) == "job.progress"
    assert event_data(failed)["error"] == "no rows"
    assert event_data(SUCCEEDED)["result"] == {"version": 1}
    assert "error" not in event_data(SUCCEEDED)


HOLDERS = st.sampled_from(["mine", "theirs"])
MOVES = st.one_of(
    st.just(lambda job, now: machine.claim(job, owner="runner", now=now, lease=LEASE)),
    st.just(lambda job, now: machine.keep_claim(job, owner="runner", now=now, lease=LEASE)),
    HOLDERS.map(lambda holder: lambda job, now: machine.begin(job, holder=holder, now=now, lease=LEASE)),
    HOLDERS.map(lambda holder: lambda job, now: machine.renew(job, holder=holder, now=now, lease=LEASE)),
    st.tuples(HOLDERS, st.floats(0, 2)).map(
        lambda given: lambda job, now: machine.progress(job, holder=given[0], phase="p", fraction=given[1], metrics={})
    ),
    HOLDERS.map(lambda holder: lambda job, now: machine.succeed(job, holder=holder, result={}, now=now)),
    HOLDERS.map(lambda holder: lambda job, now: machine.fail(job, holder=holder, error="x", now=now)),
    HOLDERS.map(lambda holder: lambda job, now: machine.process_ended(job, holder=holder, error="x", now=now)),
    st.just(lambda job, now: machine.ask_to_cancel(job, now=now)),
    st.just(lambda job, now: machine.interrupt(job, because="x", now=now)),
    st.just(lambda job, now: machine.expire(job, now=now)),
)


@given(st.lists(st.tuples(MOVES, st.floats(0, 10)), max_size=30))
def test_no_sequence_of_moves_breaks_the_rules(moves: list[tuple[Callable[[Job, float], Job], float]]) -> None:
    job, now = QUEUED, NOW
    for move, passed in moves:
        now += passed
        try:
            after = move(job, now)
        except JobRefused:
            continue
        if job.state.is_over:
            assert after == job, "what is over stays as it is"
        assert after.fraction >= job.fraction
        assert 0 <= after.fraction <= 1
        assert job.holder in {None, after.holder}, "the holder never changes"
        assert (after.finished is not None) == after.state.is_over
        assert (after.lease_until is not None) == (not after.state.is_over and after.state is not JobState.QUEUED)
        if after.state is JobState.SUCCEEDED:
            assert after.result is not None
        if after.state in {JobState.FAILED, JobState.INTERRUPTED}:
            assert after.error
        job = after

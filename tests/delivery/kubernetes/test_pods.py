"""The pure part: whole pods, and an order in which never too few are ready."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.delivery.kubernetes.pods import Floors, Pods, is_there, share, split, towards

counts = st.integers(0, 30)


@given(st.integers(2, 100), st.floats(0, 100))
def test_a_split_uses_all_pods_and_leaves_one_on_each_side(total: int, percent: float) -> None:
    found = split(total, percent)

    assert found.total == total
    assert min(found.stable, found.canary) >= 1
    assert (
        abs(share(found) - percent)
        <= 50 / total + 100 / total * (percent < 100 / total or percent > 100 - 100 / total) + 0.01
    )


def test_no_pods_have_no_share() -> None:
    assert share(Pods(0, 0)) == 0.0


@given(st.data())
def test_ready_pods_never_fall_below_the_floor(data: st.DataObject) -> None:
    """Pods become ready whenever they like; lowering ends unready pods first, as a ReplicaSet does."""
    total = data.draw(st.integers(2, 20))
    percents = data.draw(st.lists(st.integers(0, 100), min_size=1, max_size=4))
    asked = ready = Pods(total, 0)
    for percent in percents:
        aim = Pods(total, 0) if not percent else Pods(0, total) if percent == 100 else split(total, percent)
        for _ in range(60):
            following = towards(aim, asked, ready, Floors(total))
            ready = Pods(min(ready.stable, following.stable), min(ready.canary, following.canary))
            assert ready.total >= total
            asked = following
            if is_there(aim, asked, ready):
                break
            grows = data.draw(st.integers(0, 3))
            ready = Pods(min(asked.stable, ready.stable + grows), min(asked.canary, ready.canary + max(1, grows)))
            if asked.stable > ready.stable:
                ready = Pods(ready.stable + 1, ready.canary)
        assert is_there(aim, asked, ready)


@given(st.builds(Pods, counts, counts), st.builds(Pods, counts, counts), st.builds(Pods, counts, counts), counts)
def test_a_side_that_is_to_shrink_never_grows(aim: Pods, asked: Pods, ready: Pods, floor: int) -> None:
    following = towards(aim, asked, ready, Floors(floor))

    assert following.stable <= max(aim.stable, asked.stable)
    assert following.canary <= max(aim.canary, asked.canary)


def test_a_budget_of_one_side_is_a_floor_of_its_own() -> None:
    assert towards(Pods(1, 9), Pods(9, 9), Pods(9, 9), Floors(10, stable=5)) == Pods(5, 9)

"""How long a part that dies waits for its next start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.service.restart import LONGEST_PAUSE, STEADY, death

LIVES = st.lists(st.floats(min_value=0, max_value=3 * STEADY), min_size=1, max_size=60)


def test_each_death_in_a_row_doubles_the_pause() -> None:
    last, pauses = None, []
    for second in range(8):
        last = death(last, started=float(second), now=float(second))
        pauses.append(last.restart_at - second)

    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]


@given(LIVES)
def test_a_pause_is_never_too_long_and_a_steady_life_resets_it(lives: list[float]) -> None:
    last, now = None, 0.0
    for life in lives:
        started, now = now, now + life
        last = death(last, started=started, now=now)
        assert 0 < last.restart_at - now <= LONGEST_PAUSE + 1e-6
        if now - started >= STEADY:
            assert last.in_a_row == 1

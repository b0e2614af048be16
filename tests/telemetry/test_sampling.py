"""The ratio holds, and every service with the same ratio keeps the same traces."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from quadra_matrix.errors import InvalidValue
from quadra_matrix.telemetry.propagation import Remote
from quadra_matrix.telemetry.sampling import Sampling

RATIOS = st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.999, 1.0])


@given(RATIOS, st.integers(0, 2**32))
def test_ids_agree_with_the_choice_and_with_opentelemetry(ratio: float, seed: int) -> None:
    sampling = Sampling(ratio, bits=random.Random(seed).getrandbits)
    standard = TraceIdRatioBased(ratio)

    trace_id, is_recorded = sampling.new_trace()

    assert standard.should_sample(None, trace_id, "").decision.is_sampled() is is_recorded
    assert sampling.records(Remote(trace_id, 1, None)) is is_recorded
    if ratio:
        assert sampling.records(Remote(sampling.recorded_trace(), 1, None))


@given(RATIOS, st.booleans())
def test_a_callers_choice_is_followed(ratio: float, choice: bool) -> None:
    assert Sampling(ratio).records(Remote(1, 1, choice)) is choice


def test_a_callers_choice_can_be_overruled() -> None:
    assert not Sampling(0.0, follows_caller=False).records(Remote(1, 1, True))


def test_the_ratio_is_the_part_that_is_recorded() -> None:
    sampling = Sampling(0.1, bits=random.Random(7).getrandbits)

    recorded = sum(sampling.new_trace()[1] for _ in range(20_000))

    assert 1850 < recorded < 2150  # 3.5 standard deviations


def test_ids_are_never_zero() -> None:
    sampling = Sampling(1.0, bits=lambda _: 0)

    assert (sampling.new_trace()[0], sampling.recorded_trace(), sampling.new_span()) == (1, 1, 1)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_outside_its_range_is_refused(ratio: float) -> None:
    with pytest.raises(InvalidValue, match="ratio"):
        Sampling(ratio)

"""What a proxy may be asked to do."""

from __future__ import annotations

from typing import Any

import pytest

from quadra_matrix.chaos.proxy.disturbance import CLEAR, Disturbance, Down
from quadra_matrix.errors import InvalidValue


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"latency": -1.0}, "latency"),
        ({"latency": 1.0, "jitter": 2.0}, "jitter"),
        ({"share": 1.1}, "share"),
        ({"errors": 0.6, "aborts": 0.6}, "errors"),
        ({"status": 200}, "status"),
        ({"bandwidth": 0.0}, "bandwidth"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue, match=field):
        Disturbance(**options)


@pytest.mark.parametrize(
    "options", [{"latency": 1.0}, {"errors": 0.1}, {"aborts": 0.1}, {"resets": 0.1}, {"bandwidth": 1.0}]
)
def test_only_what_does_nothing_is_clear(options: dict[str, Any]) -> None:
    assert CLEAR.is_clear
    assert Disturbance(latency=1.0, share=0.0).is_clear
    assert not Disturbance(**options).is_clear
    assert not Disturbance(down=Down.HANG).is_clear

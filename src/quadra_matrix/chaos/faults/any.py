"""Every fault that a file can name."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from quadra_matrix.chaos.faults.files import DiskFull, OpenFiles
from quadra_matrix.chaos.faults.network import Aborts, Away, Bandwidth, Errors, Latency, Resets
from quadra_matrix.chaos.faults.pressure import Cpu, Memory
from quadra_matrix.chaos.faults.process import Kill, Pause

AnyFault = Annotated[
    Latency | Errors | Aborts | Resets | Bandwidth | Away | Pause | Kill | Cpu | Memory | OpenFiles | DiskFull,
    Field(discriminator="fault"),
]
KINDS: dict[str, type] = {kind.__dataclass_fields__["fault"].default: kind for kind in get_args(get_args(AnyFault)[0])}
"""Kind -> its options."""

"""What the fuzzer must do with the service that no schema can say."""

from __future__ import annotations

import copy
from typing import Any

import schemathesis


@schemathesis.serializer("text/csv", "application/vnd.apache.parquet", "application/x-parquet")
def file(ctx: schemathesis.SerializationContext, value: Any) -> Any:
    """Send a file as it is."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: schemathesis.Case) -> schemathesis.Case:
    """Keep the two rules of a training request that no schema can say. Only adds, so what is wrong stays wrong."""
    if case.operation.label == "POST /api/train" and isinstance(case.body, dict):
        case.body = copy.deepcopy(case.body)  # cases share their parts
        fill_rows(case.body.get("data"))
        features = case.body.get("features")
        if isinstance(features, list) and case.body.get("target", "target") in features:
            case.body["target"] = "a column that is no feature"
    return case


def fill_rows(data: Any) -> None:
    """Lengthen inline rows to the length of the longest, and name as many columns."""
    if not isinstance(data, dict) or data.get("source") != "inline":
        return
    columns, rows = data.get("columns"), data.get("rows")
    if isinstance(columns, list) and isinstance(rows, list) and all(isinstance(row, list) for row in rows):
        longest = max(len(columns), *map(len, rows), 0)
        columns += [f"column {number}" for number in range(len(columns), longest)]
        for row in rows:
            row += [None] * (longest - len(row))

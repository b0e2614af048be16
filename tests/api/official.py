"""The official JSON Schema of AsyncAPI, as its authors publish it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft7Validator

from tests.services.npm import npm_package

INTEGRITY = "sha512-A3WBLqAKGoJ2+6FWFtpjBlCQ1oFCcs4GxF7zsIGvNqp/klGUHjlA3aAcZ9XMMpLGE8zPeYDz2x9FmO6DSuKraQ=="


def assert_asyncapi(document: Any) -> None:
    """Fail with what the schema of AsyncAPI 3.0.0 says against the document."""
    wrong = [f"{error.json_path}: {error.message[:300]}" for error in _asyncapi_3_0().iter_errors(document)]
    assert not wrong, "\n".join(wrong)


@cache
def _asyncapi_3_0() -> Draft7Validator:
    specs = npm_package("@asyncapi/specs", "6.11.1", INTEGRITY)
    return Draft7Validator(json.loads((specs / "schemas" / "3.0.0.json").read_text()))

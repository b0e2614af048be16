"""The Open Inference Protocol v2 over HTTP, as KServe, Triton and MLServer speak it.

Errors are problem documents that also carry the protocol's member ``error``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from quadra_matrix import __version__
from quadra_matrix.api.flask import problem_response
from quadra_matrix.api.problem import INVALID_REQUEST, MALFORMED_JSON, FieldError, Problem, of_status, pointer
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import BadRows, ModelRefused, UnknownModel
from quadra_matrix.service.models import tensors
from quadra_matrix.service.models.inference import Inference
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.tensors import Tensor
from quadra_matrix.service.routes.refusals import STATUSES, problem_of

JSON_LENGTH = "Inference-Header-Content-Length"
"""Header of a request in binary form: how many of its bytes are JSON; raw tensors follow."""

MOST_BODY = 64 * 1024 * 1024
"""Bytes of a request."""

Element = bool | int | float | str


class Lax(BaseModel):
    """Base of what the protocol sends: it allows members that a server does not know."""

    model_config = ConfigDict(strict=True, extra="ignore")


class InputTensor(Lax):
    """One tensor; its elements stand in ``data`` or follow the JSON in binary."""

    name: str
    datatype: str
    shape: Annotated[list[Annotated[int, Field(ge=0, le=10_000_000)]], Field(min_length=1, max_length=8)]
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class OutputTensor(Lax):
    """One output that the caller wants."""

    name: str


class InferRequest(Lax):
    """A request of the protocol."""

    id: str | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=16)]
    outputs: list[OutputTensor] | None = None


_REQUEST = TypeAdapter(InferRequest)


def inference_protocol_routes(
    inference: Inference,
    registry: Registry,
    *,
    ready: Callable[[], bool],
    clock: Clock = SYSTEM_CLOCK,
) -> Blueprint:
    """Return the routes of the protocol. ``ready`` tells whether the service takes requests."""
    routes = Blueprint("inference_protocol", __name__, url_prefix="/v2")
    for kind in STATUSES:
        routes.register_error_handler(kind, _answer_refusal)

    @routes.get("")
    def server() -> Response:
        """Tell the name and version of the server."""
        return jsonify(name="quadra-matrix", version=__version__, extensions=["binary_tensor_data"])

    @routes.get("/health/live")
    def live() -> Response:
        """Tell that the process answers."""
        return jsonify(live=True)

    @routes.get("/health/ready")
    def is_ready() -> tuple[Response, int] | Response:
        """Tell whether the service takes requests."""
        return jsonify(ready=True) if ready() else _answer(of_status(503, "the service is not ready"))

    @routes.get("/models/<name>")
    @routes.get("/models/<name>/versions/<version>")
    def metadata(name: str, version: str | None = None) -> Response:
        """Describe the tensors that a model takes and answers."""
        found = registry.find(name, version=_number(registry, name, version))
        inputs = [
            {
                "name": tensor,
                "datatype": "BYTES" if tensor == tensors.CATEGORICAL else "FP64",
                "shape": [-1, len(features)],
                "parameters": {"features": features},
            }
            for tensor, features in tensors.expected(found.features).items()
        ]
        versions = [str(number) for number in registry.catalogue().versions[name]]
        platform = f"quadra-matrix_{found.engine}"
        outputs = tensors.outputs_of(found)
        return jsonify(name=name, versions=versions, platform=platform, inputs=inputs, outputs=outputs)

    @routes.get("/models/<name>/ready")
    @routes.get("/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> Response:
        """Load a model if it is not in memory, and tell that it answers."""
        inference.model(name, version=_number(registry, name, version))
        return jsonify(name=name, ready=True)

    @routes.post("/models/<name>/infer")
    @routes.post("/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Response:
        """Predict the rows of tensors."""
        started = clock.monotonic()
        read = _read()
        if isinstance(read, Problem):
            return _answer(read)
        asked, given = read
        model = inference.model(name, version=_number(registry, name, version))
        inputs = tensors.inputs_of(model.version.features, given)
        inference.check_size(len(inputs))
        answer = model.answer(model.scores(inputs))
        inference.announce(answer.model, answer.version, len(inputs), started)
        outputs = _wanted(asked, tensors.answered(answer))
        said = {"id": asked.id} if asked.id is not None else {}
        return jsonify(model_name=name, model_version=str(answer.version), outputs=outputs, **said)

    return routes


def _number(registry: Registry, name: str, version: str | None) -> int | None:
    """Return the number of a version; what is no number names none that exists."""
    if version is None or (version.isascii() and version.isdigit() and len(version) < 10):
        return None if version is None else int(version)
    existing = registry.catalogue().versions.get(name, {})
    raise UnknownModel(f"version {version!r} of model {name!r}", map(str, existing))


def _read() -> tuple[InferRequest, list[Tensor]] | Problem:
    """Return the request with its tensors, or the problem of one that is not of the protocol."""
    request.max_content_length = MOST_BODY
    body = request.get_data(cache=False)
    length = request.headers.get(JSON_LENGTH, str(len(body)))
    if not (length.isascii() and length.isdigit() and int(length[:12]) <= len(body)):
        wrong = FieldError("is no number of bytes of the body", f"#/{JSON_LENGTH}", "header")
        return INVALID_REQUEST.problem(errors=[wrong])
    header, binary = body[: int(length)], body[int(length) :]
    try:
        asked = _REQUEST.validate_json(header)
    except ValidationError as refused:
        errors = refused.errors(include_url=False, include_context=False, include_input=False)
        kind = MALFORMED_JSON if errors[0]["type"] == "json_invalid" else INVALID_REQUEST
        return kind.problem(errors=[FieldError(error["msg"], pointer(*error["loc"])) for error in errors])
    return asked, _tensors(asked, binary)


def _tensors(asked: InferRequest, binary: bytes) -> list[Tensor]:
    """Return the tensors of a request; those without data take their bytes from ``binary`` in order."""
    found, at = [], 0
    for given in asked.inputs:
        data: list[Any] | bytes | None = given.data
        size = given.parameters.get("binary_data_size")
        if data is None and isinstance(size, int) and 0 <= size <= len(binary) - at:
            data, at = binary[at : at + size], at + size
        if data is None:
            raise BadRows({("inputs", given.name, "data"): "is missing"})
        found.append(tensors.tensor(given.name, given.datatype, given.shape, data))
    return found


def _wanted(asked: InferRequest, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the outputs that were asked for; all of them when none is named."""
    if not asked.outputs:
        return outputs
    by_name = {output["name"]: output for output in outputs}
    unknown = [wanted.name for wanted in asked.outputs if wanted.name not in by_name]
    if unknown:
        raise BadRows({("outputs", name): "is not an output of the model" for name in unknown})
    return [by_name[wanted.name] for wanted in asked.outputs]


def _answer_refusal(refused: ModelRefused) -> Response:
    return _answer(problem_of(refused))


def _answer(problem: Problem) -> Response:
    """Return a problem document with the protocol's own member for what went wrong."""
    response = problem_response(problem)
    document = json.loads(response.get_data())
    told = "; ".join(f"{error.pointer} {error.detail}" for error in problem.errors)
    response.set_data(json.dumps(document | {"error": problem.detail or told or problem.title}))
    return response

"""The Open Inference Protocol v2 over HTTP, as KServe, Triton and MLServer speak it.

Errors are problem documents that also carry the protocol's member ``error``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import TypeAdapter, ValidationError

from quadra_matrix import __version__
from quadra_matrix.api.flask import documented, problem_response, validated
from quadra_matrix.api.problem import INVALID_REQUEST, MALFORMED_JSON, MEDIA_TYPE, FieldError, Problem, pointer
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import BadRows, RequestRefused, UnknownModel
from quadra_matrix.service.models import tensors
from quadra_matrix.service.models.inference import Inference
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.tensors import Tensor
from quadra_matrix.service.routes.protocol_messages import (
    InferRequest,
    InferResponse,
    InputMetadata,
    InputParameters,
    ModelMetadata,
    ModelReady,
    ProtocolError,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorMetadata,
)
from quadra_matrix.service.routes.refusals import answer_refusals

JSON_LENGTH = "Inference-Header-Content-Length"
"""Header of a request in binary form: how many of its bytes are JSON; raw tensors follow."""

MOST_BODY = 64 * 1024 * 1024
"""Bytes of a request."""

EXAMPLE = {"inputs": [{"name": "numeric", "datatype": "FP64", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]}

_REQUEST = TypeAdapter(InferRequest)

_LOST: dict[int, Any] = {404: ProtocolError, 500: ProtocolError, 503: ProtocolError}
"""What a route that names a model may answer instead of it."""


def inference_protocol_routes(
    inference: Inference,
    registry: Registry,
    *,
    ready: Callable[[], bool],
    clock: Clock = SYSTEM_CLOCK,
) -> Blueprint:
    """Return the routes of the protocol. ``ready`` tells whether the service takes requests."""
    routes = Blueprint("inference_protocol", __name__, url_prefix="/v2")
    answer_refusals(routes)
    routes.after_request(_say_it_as_the_protocol_does)

    @routes.get("")
    @validated(responses={500: ProtocolError})
    def server() -> ServerMetadata:
        """Tell the name and version of the server."""
        return ServerMetadata(version=__version__)

    @routes.get("/health/live")
    @validated(responses={500: ProtocolError})
    def live() -> ServerLive:
        """Tell that the process answers."""
        return ServerLive()

    @routes.get("/health/ready")
    @validated(responses={500: ProtocolError, 503: ProtocolError})
    def is_ready() -> ServerReady:
        """Tell whether the service takes requests."""
        if not ready():
            raise RequestRefused(503, "the service is not ready")
        return ServerReady()

    @routes.get("/models/<name>")
    @routes.get("/models/<name>/versions/<version>", endpoint="version_metadata")
    @validated(responses=_LOST)
    def metadata(name: str, version: str | None = None) -> ModelMetadata:
        """Describe the tensors that a model takes and answers."""
        found = registry.find(name, version=_number(registry, name, version))
        inputs = [
            InputMetadata(
                name=tensor,
                datatype="BYTES" if tensor == tensors.CATEGORICAL else "FP64",
                shape=[-1, len(features)],
                parameters=InputParameters(features=features),
            )
            for tensor, features in tensors.expected(found.features).items()
        ]
        return ModelMetadata(
            name=name,
            versions=[str(number) for number in registry.catalogue().versions[name]],
            platform=f"quadra-matrix_{found.engine}",
            inputs=inputs,
            outputs=[TensorMetadata(**output) for output in tensors.outputs_of(found)],
        )

    @routes.get("/models/<name>/ready")
    @routes.get("/models/<name>/versions/<version>/ready", endpoint="version_ready")
    @validated(responses=_LOST)
    def model_ready(name: str, version: str | None = None) -> ModelReady:
        """Load a model if it is not in memory, and tell that it answers."""
        inference.model(name, version=_number(registry, name, version))
        return ModelReady(name=name)

    @routes.post("/models/<name>/infer")
    @routes.post("/models/<name>/versions/<version>/infer", endpoint="version_infer")
    @documented(
        body=InferRequest,
        response=InferResponse,
        examples={"numbers": EXAMPLE},
        responses={**_LOST, 400: ProtocolError, 413: ProtocolError, 422: ProtocolError},
    )
    def infer(name: str, version: str | None = None) -> Response:
        """Predict the rows of tensors.

        A request in the protocol's binary form holds raw tensors after its JSON, whose length is then told by the
        header Inference-Header-Content-Length.
        """
        started = clock.monotonic()
        read = _read()
        if isinstance(read, Problem):
            return problem_response(read)
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


def _say_it_as_the_protocol_does(response: Response) -> Response:
    """Return a problem document with the protocol's own member for what went wrong."""
    if response.mimetype == MEDIA_TYPE:
        problem = json.loads(response.get_data())
        told = "; ".join(f"{error['pointer']} {error['detail']}" for error in problem.get("errors", ()))
        response.set_data(json.dumps(problem | {"error": problem.get("detail") or told or problem["title"]}))
    return response

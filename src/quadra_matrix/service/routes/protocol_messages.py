"""What the Open Inference Protocol v2 says over HTTP: its requests, its answers, its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from quadra_matrix.api.problem import Problem

Datatype = Literal["BOOL", "INT32", "INT64", "FP32", "FP64", "BYTES"]
Element = bool | int | float | str


class Lax(BaseModel):
    """Base of what the protocol sends: it allows members that a server does not know."""

    model_config = ConfigDict(strict=True, extra="ignore", use_attribute_docstrings=True)


class InputTensor(Lax):
    """One tensor; its elements stand in ``data`` or follow the JSON in binary."""

    name: str
    datatype: str
    shape: Annotated[list[Annotated[int, Field(ge=0, le=10_000_000)]], Field(min_length=1, max_length=8)]
    data: list[Any] | None = None
    """Elements in row-major order, flat or nested like the shape."""
    parameters: dict[str, Any] = {}


class OutputTensor(Lax):
    """One output that the caller wants."""

    name: str


class InferRequest(Lax):
    """A request of the protocol."""

    id: Annotated[str, Field(pattern=r"^[^\u0000]*$")] | None = None
    """Comes back in the answer."""
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=16)]
    outputs: list[OutputTensor] | None = None
    """All outputs when not given."""


class TensorMetadata(BaseModel):
    """A tensor of a model; -1 in its shape is any number of rows."""

    name: str
    datatype: Datatype
    shape: list[int]


class InputParameters(BaseModel):
    """What else is known of an input."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    features: list[str]
    """The model's features in the order of the columns."""


class InputMetadata(TensorMetadata):
    """A tensor that a model takes."""

    parameters: InputParameters


class ModelMetadata(BaseModel):
    """The tensors that a model takes and answers."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[InputMetadata]
    outputs: list[TensorMetadata]


class AnsweredTensor(TensorMetadata):
    """A tensor of an answer."""

    data: list[Element]


class InferResponse(BaseModel):
    """An answer of the protocol."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[AnsweredTensor]


class ServerMetadata(BaseModel):
    """Who answers, and what beyond the protocol it can do."""

    name: Literal["quadra-matrix"] = "quadra-matrix"
    version: str
    extensions: list[str] = ["binary_tensor_data"]


class ServerLive(BaseModel):
    """The process answers."""

    live: Literal[True] = True


class ServerReady(BaseModel):
    """The service takes requests."""

    ready: Literal[True] = True


class ModelReady(BaseModel):
    """The model is in memory and answers."""

    name: str
    ready: Literal[True] = True


@dataclass(frozen=True, slots=True)
class ProtocolError(Problem):
    """What went wrong, for clients of the protocol and for those of the other routes alike."""

    __schema_name__: ClassVar[str] = "InferenceErrorResponse"

    error: str = ""
    """What went wrong, in the one member that the protocol's clients read."""

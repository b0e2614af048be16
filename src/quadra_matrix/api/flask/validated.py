"""A view that receives models instead of bytes, and whose answers keep their schema."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any, overload

from flask import Request, Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Response as WerkzeugResponse

from quadra_matrix.api.contract import FROM_HINTS, Contract, contract_of
from quadra_matrix.api.flask.problems import ResponseMode, options_of, problem_response
from quadra_matrix.api.problem import (
    BODY_TOO_LARGE,
    INCOMPLETE_BODY,
    UNSUPPORTED_MEDIA_TYPE,
    Location,
    Problem,
)
from quadra_matrix.api.shape import Shape, is_struct, shape_of
from quadra_matrix.api.validation import AnyShape, Breach, TextReader, breach_of, read_answer, read_body
from quadra_matrix.errors import ResponseMismatch, require
from quadra_matrix.events.api import ResponseBroke

log = logging.getLogger(__name__)

CONTRACT = "__quadra_contract__"
"""The attribute under which a validated view carries its contract."""

View = Callable[..., Any]
Route = Callable[..., ResponseReturnValue]
"""What Flask calls: the parts of the request are no longer parameters, and the answer is a response."""
_Reader = Callable[[Request, dict[str, Any]], Any]
_READY = (WerkzeugResponse,)


@overload
def validated(view: View, /) -> Route: ...
@overload
def validated(
    *,
    body: Any = FROM_HINTS,
    query: Any = FROM_HINTS,
    path: Any = FROM_HINTS,
    headers: Any = FROM_HINTS,
    response: Any = FROM_HINTS,
    status: int = 200,
    responses: Mapping[int, Any] | None = None,
    mode: ResponseMode | None = None,
    max_body: int | None = None,
) -> Callable[[View], Route]: ...
def validated(view: Any = None, /, *, mode: Any = None, max_body: Any = None, **promised: Any) -> Any:
    """Call the view with models made of the raw request, and check what it answers.

    A parameter named ``body``, ``query``, ``path`` or ``headers`` receives a value of its type hint: a pydantic model,
    dataclass or TypedDict. The return hint is the type of the answer. Arguments of the same names replace the hints.
    The view returns a value of the type, or value and status, or value, status and headers; a ready ``Response``
    passes unchecked. Request data that does not fit never reaches the view.

    ``status`` is the status of the answer, ``responses`` maps further ones to their types. ``mode`` and ``max_body``
    (bytes) replace those of the app. Schemas are built once, here; raises InvalidValue where a hint is not known yet.
    """
    if view is None:
        return lambda view: _wrap(view, promised, mode, max_body)
    return _wrap(view, promised, mode, max_body)


def _wrap(view: View, promised: dict[str, Any], mode: ResponseMode | None, max_body: int | None) -> Route:
    """Return the view with everything inspected that can be inspected before a request."""
    status, responses = promised.pop("status", 200), promised.pop("responses", None)
    contract = contract_of(view, given=promised, status=status, responses=responses, raw=_READY)
    readers = _readers(contract, max_body)
    answers = Answers(contract, mode)
    is_async = inspect.iscoroutinefunction(view)

    @functools.wraps(view)
    def call(*args: Any, **kwargs: Any) -> Any:
        asked = request._get_current_object()  # type: ignore[attr-defined]
        for part, read in readers:
            value = read(asked, kwargs)
            if value.__class__ is Problem:
                return problem_response(value)
            kwargs[part] = value
        run = current_app.ensure_sync(view) if is_async else view
        return answers.response(run(*args, **kwargs))

    setattr(call, CONTRACT, contract)
    return call


def _readers(contract: Contract, max_body: int | None) -> list[tuple[str, _Reader]]:
    """Return the readers of the parts that a view asks for; the body last, as it is the most expensive to read."""
    makers: dict[str, Callable[[], _Reader]] = {
        "path": lambda: _path_reader(_text_reader(contract.path, "path")),
        "query": lambda: _query_reader(_text_reader(contract.query, "query")),
        "headers": lambda: _header_reader(_text_reader(contract.headers, "header")),
        "body": lambda: _body_reader(shape_of(contract.body), contract.body_is_optional, max_body),
    }
    return [(part, make()) for part, make in makers.items() if part in contract.takes]


def _text_reader(kind: Any, location: Location) -> TextReader:
    require(not is_struct(kind), location, kind, "a model, dataclass or TypedDict; a Struct is for bodies and answers")
    return TextReader(Shape(kind), location)


def _path_reader(reader: TextReader) -> _Reader:
    """Return a reader of the URL's converted values, which it takes out of the view's arguments."""

    def read(asked: Request, kwargs: dict[str, Any]) -> Any:
        return reader.read({name: [str(kwargs.pop(name))] for name in reader.names if name in kwargs})

    return read


def _query_reader(reader: TextReader) -> _Reader:
    """Return a reader of the query; a parameter that the model does not know is an error."""
    return lambda asked, kwargs: reader.read(asked.args.to_dict(flat=False))


def _header_reader(reader: TextReader) -> _Reader:
    """Return a reader of the headers that the model names; ``x_request_id`` reads X-Request-Id."""
    names = [(name, name.replace("_", "-")) for name in reader.names]

    def read(asked: Request, kwargs: dict[str, Any]) -> Any:
        return reader.read({name: asked.headers.getlist(header) for name, header in names if header in asked.headers})

    return read


def _body_reader(shape: AnyShape, optional: bool, max_body: int | None) -> _Reader:
    """Return a reader of the body: content type, then size, then text, then schema."""

    def read(asked: Request, kwargs: dict[str, Any]) -> Any:
        refused = None if asked.environ.get("CONTENT_TYPE") == "application/json" else _refuse_media(asked, optional)
        if refused is not None:
            return refused
        raw = _read_bytes(asked, max_body)
        if raw.__class__ is Problem:
            return raw
        if optional and not raw:
            return None
        return read_body(shape, raw)

    return read


def _refuse_media(asked: Request, optional: bool) -> Problem | None:
    """Return the problem of a body that does not say it is JSON."""
    kind = asked.mimetype
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return None
    if optional and not kind and not asked.content_length:
        return None
    return UNSUPPORTED_MEDIA_TYPE.problem("send the body as application/json")


def _read_bytes(asked: Request, max_body: int | None) -> Any:
    """Return the body, or the problem of one that is too large, encoded, or broken off."""
    environ = asked.environ
    if "HTTP_CONTENT_ENCODING" in environ and environ["HTTP_CONTENT_ENCODING"] != "identity":
        return UNSUPPORTED_MEDIA_TYPE.problem("send the body without a content encoding")
    most = max_body or options_of(current_app).max_body
    configured, length = asked.max_content_length, asked.content_length
    most = most if configured is None else min(most, configured)
    if length is None or length <= most:
        # Werkzeug cuts a chunked body at the limit without a word (3.1), so it may read one byte more than ours.
        asked.max_content_length = most + 1
        try:
            raw = asked.get_data()
        except ClientDisconnected:
            return INCOMPLETE_BODY.problem()
        if len(raw) <= most:
            return raw
    return BODY_TOO_LARGE.problem(f"the body has more than {most} bytes")


class Answers:
    """Turns what a view returns into a response that keeps the contract. May be shared between threads."""

    __slots__ = ("_contract", "_mode", "_shape", "_shapes")

    def __init__(self, contract: Contract, mode: ResponseMode | None) -> None:
        self._contract, self._mode = contract, mode
        kinds = {contract.status: contract.response, **contract.responses}
        self._shapes = {status: None if kind is None else shape_of(kind) for status, kind in kinds.items()}
        self._shape = self._shapes[contract.status]

    def response(self, answer: Any) -> Any:
        """Return the response of what a view returned."""
        if isinstance(answer, WerkzeugResponse):
            return answer
        status, headers = self._contract.status, None
        if answer.__class__ is tuple:
            answer, status, headers = _unpack(answer, status)
        shape = self._shape if status == self._contract.status else self._shapes.get(status)
        if shape is None:
            return self._without_shape(answer, status, headers)
        mode = self._mode or options_of(current_app).responses
        if mode != "off":
            answer = self._checked(shape, answer, mode)
        return self._finish(shape.write(answer), status, headers)

    def _checked(self, shape: AnyShape, answer: Any, mode: ResponseMode) -> Any:
        """Return the answer, its defaults filled in if it came as plain data; refuse or report a broken one."""
        if not isinstance(answer, shape.instance_of):
            read = read_answer(shape, answer)
            if read.__class__ is not Breach:
                return read
        # A model that writes more than it reads (computed fields, other aliases) is right as an object.
        breach = breach_of(shape, answer)
        if breach is not None:
            self._broken(mode, breach.errors)
        return answer

    def _broken(self, mode: ResponseMode, errors: tuple[str, ...]) -> None:
        """Refuse or report an answer that breaks its schema."""
        endpoint = request.endpoint or ""
        if mode == "strict":
            raise ResponseMismatch(endpoint, errors)
        log.warning("the answer of %s breaks its schema: %s", endpoint, "; ".join(errors[:10]))
        options_of(current_app).hook(ResponseBroke(endpoint, errors))

    def _without_shape(self, answer: Any, status: int, headers: Any) -> Any:
        """Return an answer that has no type; a status that nobody promised breaks the contract."""
        if status not in self._shapes and self._shape is not None:
            mode = self._mode or options_of(current_app).responses
            if mode != "off":
                self._broken(mode, (f"# status {status} is not promised",))
        if answer is None:
            return self._finish(b"", status, headers)
        return (answer, status, headers) if headers is not None else (answer, status)

    def _finish(self, raw: bytes, status: int, headers: Any) -> Response:
        """Return the response of ready bytes."""
        kind = "application/json" if raw else None
        response = current_app.response_class(raw, status=status, content_type=kind)
        if headers:
            response.headers.update(headers)
        return response


def _unpack(answer: tuple[Any, ...], status: int) -> tuple[Any, int, Any]:
    """Return value, status and headers of a tuple as Flask takes them."""
    if len(answer) == 3:
        return answer[0], int(answer[1]), answer[2]
    value, second = answer
    if isinstance(second, int):
        return value, int(second), None
    return value, status, second

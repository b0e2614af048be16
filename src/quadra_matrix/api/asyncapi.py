"""WebSocket messages to an AsyncAPI 3.0 document, from the models that check them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quadra_matrix.api.schemas import Components, Use, components_of, reachable
from quadra_matrix.errors import require


@dataclass(frozen=True, slots=True)
class Channel:
    """One WebSocket address and the messages that go through it."""

    address: str
    """Path of the WebSocket: ``/ws``."""
    sends: tuple[type, ...] = ()
    """Types of the messages that the service sends."""
    receives: tuple[type, ...] = ()
    """Types of the messages that clients send."""
    summary: str | None = None
    description: str | None = None

    def __post_init__(self) -> None:
        require(self.address.startswith("/"), "address", self.address, "a path that starts with /")
        require(bool(self.sends or self.receives), "sends", self.sends, "at least one message type, or receives")

    @property
    def name(self) -> str:
        """Return the key of the channel in documents."""
        return re.sub(r"[^A-Za-z0-9]+", "_", self.address).strip("_") or "root"


def asyncapi(
    title: str,
    version: str,
    channels: Sequence[Channel],
    *,
    description: str | None = None,
    servers: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of the channels; ``servers`` are Server Objects by name."""
    uses = {
        (channel.name, kind, is_answer): Use(kind, is_answer)
        for channel in channels
        for kinds, is_answer in ((channel.sends, True), (channel.receives, False))
        for kind in kinds
    }
    components = components_of(uses.values())
    messages = {_name(kind): _message(kind, components[use]) for (_, kind, _), use in uses.items()}
    document: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, **({"description": description} if description else {})},
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in channels},
        "operations": {name: operation for channel in channels for name, operation in _operations(channel).items()},
        "components": {"messages": messages, "schemas": _schemas(components, messages)},
    }
    return {**document, "servers": {name: dict(server) for name, server in servers.items()}} if servers else document


def _name(kind: type) -> str:
    """Return the name of a message: its type's."""
    return str(getattr(kind, "__schema_name__", kind.__name__))


def _schemas(components: Components, messages: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas that the messages refer to."""
    return reachable(components.named, [message["payload"] for message in messages.values()])


def _message(kind: type, payload: dict[str, Any]) -> dict[str, Any]:
    """Return one Message Object; its summary is the first line of the type's docstring."""
    summary = (kind.__doc__ or "").strip().partition("\n")[0]
    return {"name": _name(kind), **({"summary": summary} if summary else {}), "payload": payload}


def _channel(channel: Channel) -> dict[str, Any]:
    """Return one Channel Object."""
    kinds = dict.fromkeys((*channel.sends, *channel.receives))
    words = {"summary": channel.summary, "description": channel.description}
    return {
        "address": channel.address,
        **{key: value for key, value in words.items() if value},
        "messages": {_name(kind): {"$ref": f"#/components/messages/{_name(kind)}"} for kind in kinds},
    }


def _operations(channel: Channel) -> dict[str, Any]:
    """Return the Operation Objects of a channel; the words are those of the service, as AsyncAPI 3 wants."""
    found = {}
    for action, kinds in (("send", channel.sends), ("receive", channel.receives)):
        if kinds:
            found[f"{action}_{channel.name}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel.name}"},
                "messages": [{"$ref": f"#/channels/{channel.name}/messages/{_name(kind)}"} for kind in kinds],
            }
    return found

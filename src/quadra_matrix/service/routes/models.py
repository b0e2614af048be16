"""``/api/models``: what is published, where it came from, and which version a name points at."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any

from flask import Blueprint
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from quadra_matrix.api.flask import documented, validated
from quadra_matrix.api.problem import Problem
from quadra_matrix.errors import UnknownModel
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.models.request import Name, Wire
from quadra_matrix.service.routes.refusals import answer_refusals
from quadra_matrix.store.models import Catalogue, Engine, Kind, ModelVersion, Task

VersionNumber = Annotated[
    int, Field(ge=1, le=2**31 - 1, description="Number of a version; counts from 1.", examples=[1])
]


class FeatureView(BaseModel):
    """One input, in the order the model takes it."""

    name: str
    kind: Kind


class OnnxView(BaseModel):
    """How far the ONNX export is from the scikit-learn original."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    rows: int
    """Rows compared: all held-out and some training rows."""
    max_difference: float | None
    """Of probabilities; for a regression relative to the spread of the target. Null without an export."""
    label_flips: int
    """Rows whose most probable label differs."""
    reason: str
    """Why the original serves; empty where the export does."""


class VersionView(BaseModel):
    """One published version and where it came from."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: str
    version: VersionNumber
    aliases: list[str]
    """Names that point at this version."""
    created: AwareDatetime
    task: Task
    estimator: str
    parameters: dict[str, Any]
    target: str
    features: list[FeatureView]
    classes: list[bool | int | float | str]
    """Labels in the order of the probabilities; empty for a regression."""
    metrics: dict[str, float]
    """Measured on the held-out rows; ``cv_...`` are mean and standard deviation over the folds."""
    training: dict[str, Any]
    """Data, rows, seed, folds, and what scikit-learn warned of."""
    data_fingerprint: str
    """SHA-256 over the training data, as hexadecimal digits."""
    engine: Engine
    """What answers: the ONNX export, or the scikit-learn original where the export is not faithful."""
    onnx: OnnxView
    files: dict[str, str]
    """File name to SHA-256, as hexadecimal digits."""
    libraries: dict[str, str]
    """Library name to the version that trained the model."""


class ModelView(BaseModel):
    """A model: its versions and the names that point at them."""

    name: str
    versions: list[VersionNumber]
    aliases: dict[str, VersionNumber]


class ModelList(BaseModel):
    """Every model, by name."""

    models: list[ModelView]


class ModelDetail(ModelView):
    """A model with the records of its versions, newest first."""

    records: list[VersionView]


class ModelPath(BaseModel):
    """Names one model."""

    model: Name


class VersionPath(ModelPath):
    """Names one version."""

    version: VersionNumber


class AliasPath(ModelPath):
    """Names one alias."""

    alias: Name


class AliasMove(Wire):
    """Where an alias should point."""

    version: VersionNumber


class AliasView(BaseModel):
    """An alias and the version it points at."""

    model: str
    alias: str
    version: VersionNumber
    moved: AwareDatetime


def model_routes(registry: Registry) -> Blueprint:
    """Return the routes of published models."""
    routes = Blueprint("models", __name__, url_prefix="/api/models")
    answer_refusals(routes)

    @routes.get("")
    @validated
    def listed() -> ModelList:
        """List every model with its versions and aliases."""
        catalogue = registry.catalogue()
        return ModelList(models=[ModelView(**_model(catalogue, name)) for name in sorted(catalogue.versions)])

    @routes.get("/<model>")
    @validated(responses={404: Problem})
    def shown(path: ModelPath) -> ModelDetail:
        """Describe a model and each of its versions."""
        catalogue = registry.catalogue()
        versions = catalogue.versions.get(path.model)
        if versions is None:
            raise UnknownModel(f"model {path.model!r}", sorted(catalogue.versions))
        records = [_version(catalogue, versions[number]) for number in sorted(versions, reverse=True)]
        return ModelDetail(**_model(catalogue, path.model), records=records)

    @routes.get("/<model>/versions/<version>")
    @validated(responses={404: Problem})
    def version_shown(path: VersionPath) -> VersionView:
        """Describe one version."""
        return _version(registry.catalogue(), registry.find(path.model, version=path.version))

    @routes.put("/<model>/aliases/<alias>")
    @documented(examples={"first": {"version": 1}})
    @validated(responses={404: Problem})
    def alias_moved(path: AliasPath, body: AliasMove) -> AliasView:
        """Point an alias at a version, making the alias if needed; the next prediction in any worker follows it."""
        moved = registry.move(path.model, path.alias, body.version)
        return AliasView(
            model=moved.model,
            alias=moved.alias,
            version=moved.version,
            moved=datetime.fromtimestamp(moved.moved_at, UTC),
        )

    return routes


def _model(catalogue: Catalogue, name: str) -> dict[str, Any]:
    versions = sorted(catalogue.versions[name])
    return {"name": name, "versions": versions, "aliases": dict(catalogue.aliases.get(name, {}))}


def _version(catalogue: Catalogue, version: ModelVersion) -> VersionView:
    aliases = catalogue.aliases.get(version.model, {})
    record = dataclasses.asdict(version)
    del record["padding"]
    created = datetime.fromtimestamp(record.pop("created_at"), UTC)
    names = sorted(name for name, number in aliases.items() if number == version.version)
    return VersionView(**record, created=created, aliases=names)

"""Experiments as an OpenFeature provider: the vendor-neutral way to ask for a flag and to track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from quadra_matrix.errors import MissingExtra, UnknownExperiment
from quadra_matrix.experiments.definition import Status, is_number
from quadra_matrix.experiments.framework import ABTestingFramework

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.exception import FlagNotFoundError, TargetingKeyMissingError, TypeMismatchError
    from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
    from openfeature.provider import AbstractProvider, Metadata
    from openfeature.track import TrackingEventDetails
except ImportError as missing:
    raise MissingExtra("openfeature-sdk", "openfeature") from missing

T = TypeVar("T")
Object = Sequence[FlagValueType] | Mapping[str, FlagValueType]


class ExperimentProvider(AbstractProvider):
    """A flag is an experiment: its text is the variant's name, its object the config; ``exp:key`` is one config value.

    The targeting key is the unit. May be shared between threads.
    """

    def __init__(self, framework: ABTestingFramework) -> None:
        super().__init__()
        self._framework = framework

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name="quadra-matrix experiments")

    def shutdown(self) -> None:
        """Write what waits."""
        self._framework.close()

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Return a value of the config that is true or false."""
        return self._resolve(flag_key, bool, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return the variant's name, or a text of the config."""
        return self._resolve(flag_key, str, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Return a whole number of the config."""
        return self._resolve(flag_key, int, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Return a number of the config."""
        return self._resolve(flag_key, float, evaluation_context)

    def resolve_object_details(
        self, flag_key: str, default_value: Object, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Object]:
        """Return the config, or a list or mapping in it."""
        found = self._answer(flag_key, evaluation_context, whole=True)
        if not isinstance(found.value, (list, Mapping)):
            raise TypeMismatchError(f"{flag_key} is a {type(found.value).__name__}")
        return found

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Record a conversion of the experiment with this name, or a metric with this name in every running one."""
        unit = evaluation_context.targeting_key if evaluation_context else None
        if not unit:
            raise TargetingKeyMissingError("a conversion without a targeting key belongs to nobody")
        value = tracking_event_details.value if tracking_event_details else None
        others = tracking_event_details.attributes if tracking_event_details else {}
        numbers = {
            name: float(number)
            for name, number in others.items()
            if isinstance(number, (int, float)) and is_number(number)
        }
        running = [each for each in self._framework.experiments() if each.status is Status.RUNNING]
        if tracking_event_name in {each.name for each in running}:
            self._framework.track_conversion(tracking_event_name, None, value, numbers, user_id=unit)
            return
        for each in running:
            amount = 1.0 if value is None else value
            self._framework.track_metrics(each.name, {tracking_event_name: amount, **numbers}, user_id=unit)

    def _resolve(self, flag_key: str, kind: type[T], context: EvaluationContext | None) -> FlagResolutionDetails[T]:
        """Return an answer of one type; true is not 1, but 1 is 1.0."""
        found = self._answer(flag_key, context, whole=False)
        value = float(found.value) if kind is float and type(found.value) is int else found.value
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            raise TypeMismatchError(f"{flag_key} is a {type(found.value).__name__}")
        return FlagResolutionDetails(value, reason=found.reason, variant=found.variant)

    def _answer(self, flag_key: str, context: EvaluationContext | None, *, whole: bool) -> FlagResolutionDetails[Any]:
        """Ask the framework, and count the exposure."""
        if context is None or not context.targeting_key:
            raise TargetingKeyMissingError(f"{flag_key} needs a targeting key: the unit that keeps its variant")
        name, colon, key = flag_key.partition(":")
        try:
            answer = self._framework.get_variant(name, context.targeting_key, context.attributes)
        except UnknownExperiment as unknown:
            raise FlagNotFoundError(str(unknown)) from unknown
        if colon and key not in answer["config"]:
            raise FlagNotFoundError(f"the config of {name} has no {key!r}")
        value = answer["config"][key] if colon else answer["config"] if whole else answer["variant_name"]
        reason = Reason.SPLIT if answer["in_experiment"] else Reason.DEFAULT
        return FlagResolutionDetails(value, reason=reason, variant=answer["variant_name"])

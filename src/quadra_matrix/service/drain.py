"""Whether the service is being stopped: a file that every process of it can see."""

from __future__ import annotations

from pathlib import Path

from quadra_matrix.service.settings import Settings


def begin_draining(settings: Settings) -> None:
    """Tell every process that the service stops: not ready, no new jobs, no new subscriptions."""
    _flag(settings).touch()


def end_draining(settings: Settings) -> None:
    """Forget that an earlier service stopped."""
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    _flag(settings).unlink(missing_ok=True)


def is_draining(settings: Settings) -> bool:
    """Tell whether the service is being stopped. Costs one look at a folder."""
    return _flag(settings).exists()


def _flag(settings: Settings) -> Path:
    return settings.run_dir / "draining"

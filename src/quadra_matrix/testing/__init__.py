"""Public fakes for tests: ours and our users'. Each is strict and keeps the contract of the real part."""

from quadra_matrix.testing.access import MemoryKeys
from quadra_matrix.testing.clock import FakeClock
from quadra_matrix.testing.events import RecordingHook

__all__ = ["FakeClock", "MemoryKeys", "RecordingHook"]

"""How long detectors take on a device, and where the time goes: measured, or predicted from what was measured there."""

from __future__ import annotations

from scaling_lab.latency.conditions import Conditions

__all__ = ["Conditions"]

"""Latency of detectors on a device, and its breakdown: measured, or predicted from measurements."""

from __future__ import annotations

from scaling_lab.latency.conditions import Conditions

__all__ = ["Conditions"]

"""Validate: read every row of some files, and tell what is wrong with which."""

from __future__ import annotations

from didact.validate.check import validate
from didact.validate.verdicts import FileVerdict, Report

__all__ = ["FileVerdict", "Report", "validate"]

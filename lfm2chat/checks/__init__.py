"""Checks that users run: what is installed, and whether it is right."""

from __future__ import annotations

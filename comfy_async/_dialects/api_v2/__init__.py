"""Comfy API v2: Comfy Cloud, its deployments, and servers behind comfy-api-proxy (PROTOCOL 5)."""

from __future__ import annotations

from .api import ApiV2

__all__ = ["ApiV2"]

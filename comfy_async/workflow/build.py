"""Workflows in Python code, and typed stubs of a server's nodes for it."""

from __future__ import annotations

from ._builder import BuiltNode, Output, Outputs
from ._stubs import write_stubs
from .graph import GraphBuilder

__all__ = ["BuiltNode", "GraphBuilder", "Output", "Outputs", "write_stubs"]

"""The command line: one small module a noun, each parsing and calling one use case."""

from strangler.cli.main import app, main

__all__ = ["app", "main"]

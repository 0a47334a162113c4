"""Markup, style and script of pages, kept as files of their own. Enters: a name. Leaves: its text."""

from importlib.resources import files


def read_asset(name: str) -> str:
    """Return the text of a file of this folder."""
    return (files(__name__) / name).read_text(encoding="utf-8")

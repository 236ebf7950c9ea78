"""Titles of boxes. Textual reads a plain string there as markup, so names from elsewhere must come as content."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget


def entitle(widget: Widget, title: str, subtitle: str | None = None) -> None:
    """Give a box its title, and its subtitle when one is given; both are shown as they are."""
    widget.border_title = Content(title)
    if subtitle is not None:
        widget.border_subtitle = Content(subtitle)

"""The report of a pipeline: what was asked, what was done and why, what came of it, and how to use it.

Facts become one document of plain blocks (``story``, ``proof``, ``use``), and the document is rendered twice: as
Markdown and as one self-contained page of HTML. Every string in it is treated as foreign.
"""

from .job import run

__all__ = ["run"]

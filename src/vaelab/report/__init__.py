"""report.html of a run: one file that shows what was trained, how good it is, and what it does."""

from .page import fragment, page

__all__ = ["fragment", "page"]

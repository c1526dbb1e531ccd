"""The local web pages: a small server that trusts nobody, and the explorer of a run."""

from .server import Server, Start, open_browser

__all__ = ["Server", "Start", "open_browser"]

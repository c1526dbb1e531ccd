"""Published figures and tables, run again: curves kept in a folder, and a page that says what has been run."""

from . import burda, kingma_welling
from .base import REPRODUCTIONS, Check, Item, Reproduction, find
from .carry_out import Outcome, reproduce

__all__ = ["REPRODUCTIONS", "Check", "Item", "Outcome", "Reproduction", "burda", "find", "kingma_welling", "reproduce"]

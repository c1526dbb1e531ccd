"""The study deck in the terminal: cards, the schedule of their answers, the history, decks from and for elsewhere.

from vaelab.study import bundled
bundled().cards[0].question
"""

from .deck import Card, Deck, bundled
from .history import History
from .schedule import Answer, Schedule
from .session import Session
from .statistics import due_list, statistics

__all__ = ["Answer", "Card", "Deck", "History", "Schedule", "Session", "bundled", "due_list", "statistics"]

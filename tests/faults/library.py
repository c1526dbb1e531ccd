"""Faults: library."""

"""Faults: options."""

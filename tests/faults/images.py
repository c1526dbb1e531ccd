"""Faults: images."""

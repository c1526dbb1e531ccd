"""Faults: files."""

"""Faults: training."""

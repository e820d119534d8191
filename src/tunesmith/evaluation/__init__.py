"""Evaluation that can be believed: intervals, calibration, slices, mistakes, and the report."""

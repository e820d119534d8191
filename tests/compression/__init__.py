"""Tests of tunesmith.compression."""

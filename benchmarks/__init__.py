"""Fits whose answers are known."""

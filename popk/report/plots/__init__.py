"""Figures. Computes nothing: every number comes from an analysis table."""

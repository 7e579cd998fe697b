"""Covariate effects: tests, search, and how often these err."""

"""Simulation of dosing: from a fit, or from a model's priors, to concentrations and exposure."""

"""The same model fitted again to other data: resampled, simulated, or without one subject."""

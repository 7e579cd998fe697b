"""Is the model right? Predictions beside data, and verdicts."""

"""The parts of report.html: each file turns what was gathered into blocks. Computes nothing."""

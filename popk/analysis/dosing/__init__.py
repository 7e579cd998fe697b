"""Doses: what one infant's samples say of it, and the rate that brings it to a target."""

"""Peers of popk's samplers, each a script that runs in its own interpreter, without popk."""

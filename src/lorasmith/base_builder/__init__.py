"""Owns the building of the embedded base from emoji art; refuses everything users run: nothing imports it."""

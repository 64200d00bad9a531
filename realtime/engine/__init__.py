"""Computes the blur map of an image: backends, their selection, and fallbacks after failures."""

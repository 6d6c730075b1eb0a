"""Moves a Django monolith to services one business capability at a time."""

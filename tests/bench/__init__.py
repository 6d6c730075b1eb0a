"""Measurements against peers: ``make bench``, or ``make bench ONLY=proxy`` for one part."""

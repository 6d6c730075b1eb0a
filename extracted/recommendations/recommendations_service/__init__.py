"""Recommendations: products like another one, computed from what the catalog answers."""

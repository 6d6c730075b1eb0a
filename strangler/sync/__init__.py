"""Keeping the service's tables equal to the monolith's; so far the copy that it starts from."""

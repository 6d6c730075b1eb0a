"""Moves the ownership of writes from one stack to the other and back: nothing lost, and one writer at every instant."""

"""Real requests to both stacks, for a team's tests: a pytest plugin, and what it reports."""

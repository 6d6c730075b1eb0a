"""The project around the reviews since they left the shop."""

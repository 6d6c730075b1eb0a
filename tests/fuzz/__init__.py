"""Coverage-guided fuzzing of what reads bytes from outside, by atheris; ``make fuzz`` runs it."""

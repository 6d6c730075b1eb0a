"""The slim accounts of the lifted project."""

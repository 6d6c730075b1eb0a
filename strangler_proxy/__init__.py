"""The data plane: a routing proxy in front of both stacks."""

"""How far the two stacks' answers agree."""

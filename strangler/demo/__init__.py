"""A whole family of processes on one machine: both stacks, the engines, and the toolkit in front of them."""

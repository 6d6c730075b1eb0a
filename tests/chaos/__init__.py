"""What fails when a part is killed under traffic, measured on a whole family of real processes."""

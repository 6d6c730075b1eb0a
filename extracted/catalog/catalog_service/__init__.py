"""The catalog: categories and products, read by everyone."""

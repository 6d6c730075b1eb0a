"""HTTP/1.1 without I/O: bytes to heads and bodies, heads to bytes, and what may pass between two connections."""

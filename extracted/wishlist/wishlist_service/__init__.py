"""The wish list: products that a visitor keeps for later. Born as a service; the monolith never had one."""

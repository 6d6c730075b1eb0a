"""How gunicorn serves the shop, read from this folder; flags on the command line win."""

wsgi_app = "shop.wsgi:application"
# Threads keep connections open, which sync workers cannot: what stands in front may pool them.
worker_class = "gthread"
workers = 2
threads = 4
keepalive = 75
graceful_timeout = 20
control_socket_disable = True

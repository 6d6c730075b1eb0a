"""The owner moves under the whole load while parts die: clients through the proxy, Django and Celery beside it."""

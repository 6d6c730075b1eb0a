"""Ask an address of this container, and fail unless it answers with 2xx: HEALTHCHECK runs it, there being no curl."""

from __future__ import annotations

import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit


def main(url: str) -> int:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=4)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        status = connection.getresponse().status
    except OSError as exc:
        print(f"{url}: {exc}")
        return 1
    finally:
        connection.close()
    print(f"{url}: {status}")
    return 0 if 200 <= status < 300 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""gunicorn, as the chassis wants it: one process whose metrics are all there is, and a stop that loses no request."""

import socket
import time
from threading import Timer

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import _DEFER, ThreadWorker

NOTICE_SECONDS = 0.5
# The proxy's own patience. What comes of a head within is waited for by the poller, not by a thread.
HEAD_SECONDS = 10
HEAD_BYTES = 65_536
LINGER_SECONDS = 2


class DrainingWorker(ThreadWorker):
    """Says that it is not ready before it stops listening, so that whoever balances goes elsewhere in time."""

    def handle(self, conn):
        """Leave a client to the poller until its head is whole: eight slow ones would otherwise hold every thread."""
        if self.alive and not self._has_head(conn):
            conn.head_by = getattr(conn, "head_by", time.monotonic() + HEAD_SECONDS)
            return _DEFER if time.monotonic() < conn.head_by else False
        conn.head_by = time.monotonic() + self.cfg.keepalive + HEAD_SECONDS
        return super().handle(conn)

    def _has_head(self, conn):
        if conn.parser is not None and conn.parser.unreader.buf.getvalue():
            return True  # a part of it was read with the request before
        try:
            came = conn.sock.recv(HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True  # whoever reads is told
        whole = not came or b"\r\n\r\n" in came or len(came) == HEAD_BYTES
        # The poller is not to wake for what was seen already.
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if whole else len(came) + 1)
        return whole

    def finish_request(self, conn, fs):
        super().finish_request(conn, fs)
        if self.wsgi.readiness.draining and (conn in self.keepalived_conns or conn in self.pending_conns):
            # Either it was told that its connection stays, a moment before we knew, and the next request may be on its
            # way; or its head is, and gunicorn would close it at once, for no connection is kept any more.
            conn.timeout = time.monotonic() + LINGER_SECONDS

    def murder_pending(self):
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, conn.head_by)
        self.pending_conns = type(self.pending_conns)(sorted(self.pending_conns, key=lambda conn: conn.timeout))
        super().murder_pending()

    def handle_exit(self, sig, frame):
        if self.wsgi.readiness.draining:
            return
        self.wsgi.readiness.draining = True
        # From now on every answer asks for its connection's end.
        self.cfg.set("keepalive", 0)
        Timer(NOTICE_SECONDS, super().handle_exit, [sig, frame]).start()


class JsonLog(Logger):
    """Leaves gunicorn's own lines to the log of the process."""

    def setup(self, cfg):
        super().setup(cfg)
        self.error_log.propagate = True


class Server(BaseApplication):
    def __init__(self, application, listen, threads):
        self._application = application
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        self._wanted = {
            "bind": f"{host}:{listen.port}",
            "workers": 1,
            "worker_class": DrainingWorker,
            "threads": threads,
            # Longer than the idle timeout of any pool in front: the side that reuses a connection must close it.
            "keepalive": 75,
            "graceful_timeout": 10,
            "errorlog": None,
            "logger_class": JsonLog,
            "control_socket_disable": True,
        }
        super().__init__()

    def load_config(self):
        for name in self._wanted.keys() & self.cfg.settings.keys():
            self.cfg.set(name, self._wanted[name])

    def load(self):
        return self._application

"""gunicorn, as the chassis wants it: one process whose metrics are all there is, and a stop that loses no request."""

from threading import Timer

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

NOTICE_SECONDS = 0.5


class DrainingWorker(ThreadWorker):
    """Says that it is not ready before it stops listening, so that whoever balances goes elsewhere in time."""

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

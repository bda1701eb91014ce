"""`python3 -m shop` serves on port 8080."""

from gunicorn.app.base import BaseApplication

from shop import create_app


class Server(BaseApplication):
    def load_config(self) -> None:
        self.cfg.set("bind", "0.0.0.0:8080")
        self.cfg.set("workers", 2)

    def load(self) -> object:
        return create_app()


Server().run()

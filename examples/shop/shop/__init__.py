"""A small shop: prices on request, orders checked against a schema."""

from __future__ import annotations

import orjson
from flask import Flask, Response, request
from jsonschema import Draft202012Validator

PRICES = {"apple": 40, "pear": 55, "plum": 25}
ORDER = Draft202012Validator({
    "type": "object", "required": ["items"], "additionalProperties": False,
    "properties": {"items": {"type": "object", "propertyNames": {"enum": sorted(PRICES)},
                             "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 1000}}}})


def create_app() -> Flask:
    app = Flask(__name__)

    @app.get("/healthz")
    def healthz() -> Response:
        return _json({"ok": True})

    @app.get("/prices")
    def prices() -> Response:
        return _json(PRICES)

    @app.post("/orders")
    def orders() -> Response:
        try:
            order = orjson.loads(request.get_data())
        except orjson.JSONDecodeError as error:
            return _json({"error": str(error)}, 400)
        problems = [error.message for error in ORDER.iter_errors(order)]
        if problems:
            return _json({"error": problems}, 400)
        return _json({"total": sum(PRICES[name] * count for name, count in order["items"].items())})

    return app


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, content_type="application/json")

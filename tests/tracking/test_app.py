"""The page that `bench ui` serves is MLflow's, with a note that keeps the Assistant panel closed."""

import asyncio
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own
    from bench.tracking import app as pages_app


def ask(path: str, monkeypatch, method: str = "GET") -> tuple[dict, bytes]:
    seen = {}

    async def mlflow(scope, receive, send):
        seen.update(scope)
        head = [(b"content-length", b"19"), (b"etag", b"x"), (b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"<html><head>", "more_body": True})
        await send({"type": "http.response.body", "body": b"</head>"})

    monkeypatch.setattr(pages_app, "server", mlflow)
    messages = []

    async def send(message):
        messages.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": [(b"if-none-match", b"x"), (b"host", b"h")]}
    asyncio.run(pages_app.app(scope, None, send))
    return dict(messages[0]["headers"]) | {"seen": seen["headers"]}, b"".join(m.get("body", b"") for m in messages[1:])


def test_the_page_notes_that_the_assistant_was_opened(monkeypatch):
    headers, body = ask("/", monkeypatch)
    assert body == b"<html><head>" + pages_app.NOTE + b"</head>"
    assert headers[b"content-length"] == str(len(body)).encode()
    assert b"etag" not in headers
    assert headers["seen"] == [(b"host", b"h")]  # the answer is never "not modified", which could not be changed


@pytest.mark.parametrize(("path", "method"), [("/health", "GET"), ("/", "HEAD"), ("/static-files/a.js", "GET")])
def test_other_answers_are_mlflows_own(monkeypatch, path, method):
    headers, body = ask(path, monkeypatch, method)
    assert body == b"<html><head></head>"
    assert headers[b"etag"] == b"x"

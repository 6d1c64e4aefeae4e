"""MLflow's server as `bench ui` starts it: its pages do not open the Assistant panel on a first visit.

MLflow 3.17 opens the panel, which covers a quarter of the page, where the browser has not noted that it was opened
before, and has no setting against it. So its page gets a line that makes the note. The panel still opens from its
button. `mlflow server --app-name bench` finds this app by the entry point in pyproject.toml:
https://mlflow.org/docs/latest/ml/plugins/
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mlflow.server.fastapi_app import app as server

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NOTE = b"<script>try{localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1','true')}catch(e){}</script>"
HEAD = b"<head>"
CONDITIONS = (b"range", b"if-none-match", b"if-modified-since")


class App:
    """Answers a request as MLflow does, with the note in its page; MLflow would take a function for a factory."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await server(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def collect(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            page = body.replace(HEAD, HEAD + NOTE, 1)
            kept = [pair for pair in start["headers"] if pair[0].lower() not in (b"content-length", b"etag")]
            await send({**start, "headers": [*kept, (b"content-length", str(len(page)).encode())]})
            await send({"type": "http.response.body", "body": page})

        # A part of the page, or none because the browser knows it, could not be changed.
        headers = [pair for pair in scope["headers"] if pair[0] not in CONDITIONS]
        await server({**scope, "headers": headers}, receive, collect)


app = App()

"""Reads requests by h11: lines of JSON in, lines of JSON out. Bytes are text here, by ISO 8859-1."""

import json
import sys

import h11


def first(raw):
    """The first request in `raw`, and what is behind it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(raw)
    request, body = None, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            raise EOFError("it is not whole")
    text = lambda part: bytes(part).decode("latin-1")
    return {
        "method": text(request.method),
        "target": text(request.target),
        "version": text(request.http_version),
        "fields": [[text(name), text(value)] for name, value in request.headers],
        "body": text(body),
    }, connection.trailing_data[0]


def read(raw):
    """All requests in `raw`, up to the first that is not one."""
    requests = []
    # RFC 9112, 2.2: empty lines before a request, which h11 does not know of.
    while raw := raw.lstrip(b"\r\n"):
        try:
            request, raw = first(raw)
        except (h11.RemoteProtocolError, EOFError) as error:
            return {"requests": requests, "fault": str(error)}
        requests.append(request)
    return {"requests": requests, "fault": None}


for line in sys.stdin:
    print(json.dumps(read(json.loads(line).encode("latin-1"))))

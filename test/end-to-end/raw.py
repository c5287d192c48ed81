"""Raw IP packets for tests, one in hexadecimal a line, over an interface of this network namespace.

  raw.py send INTERFACE ADDRESS [PER_SECOND]
                                  sends what stdin says to the neighbour ADDRESS (its MAC is looked up by `ip neigh`)
  raw.py receive INTERFACE        prints `ready`, then what comes in for this host, until stdin ends
"""
import select
import socket
import subprocess
import sys
import time

ETHER_TYPES = {4: 0x0800, 6: 0x86DD}
PACKET_OUTGOING = 4
PACKET_HOST = 0
# Seconds: what a sleep may be too long, at a few thousand packets a second.
MOST_MADE_UP = 0.01


def neighbour(interface, address):
    fields = subprocess.run(
        ["ip", "neigh", "show", "to", address, "dev", interface], capture_output=True, text=True, check=True
    ).stdout.split()
    return bytes.fromhex(fields[fields.index("lladdr") + 1].replace(":", ""))


def send(interface, address, per_second=None):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    hardware = neighbour(interface, address)
    due = time.monotonic()
    for line in sys.stdin:
        if per_second is not None:
            # What a busy machine has made us miss is not made up for: no queue shall be full by it.
            due = max(due, time.monotonic() - MOST_MADE_UP) + 1 / int(per_second)
            time.sleep(max(0, due - time.monotonic()))
        packet = bytes.fromhex(line)
        version = packet[0] >> 4 if packet else 4
        link.sendto(packet, (interface, ETHER_TYPES.get(version, 0x0800), 0, 0, hardware))


def receive(interface):
    # 0x0003 is ETH_P_ALL, in network order.
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    link.bind((interface, 3))
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([link, sys.stdin], [], [])
        if link in readable:
            packet, where = link.recvfrom(65535)
            if where[2] == PACKET_HOST and where[1] in ETHER_TYPES.values():
                print(packet.hex(), flush=True)
        elif sys.stdin in readable and not sys.stdin.read(1):
            return


if sys.argv[1] == "send":
    send(*sys.argv[2:])
else:
    receive(sys.argv[2])

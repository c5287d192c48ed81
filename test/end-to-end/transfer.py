"""Transfers that never fragment (DF set, IP_PMTUDISC_DO), and what the kernel learned of the path meanwhile.

  transfer.py serve IDENTIFIER TCP_PORT UDP_PORT VIP...   a target; prints `ready` when it listens
  transfer.py upload|download                             clients; stdin: JSON {connections, bytes, deadlineMs}
  transfer.py datagrams                                   clients; stdin: JSON {connections, request, answer, fits, deadlineMs}

Clients print a JSON array, an entry for each connection in the order given; all connections stand before the first byte of
a transfer is sent, so none of them learns from another.
"""
import errno
import hashlib
import json
import os
import select
import socket
import struct
import sys
import threading
import time

# linux/in.h and linux/in6.h; Python names none of them.
DISCOVER = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
PATH_MTU = {socket.AF_INET: (socket.IPPROTO_IP, 14), socket.AF_INET6: (socket.IPPROTO_IPV6, 24)}
PMTUDISC_DO = 2
CHUNK = 65536


def learned(connection):
    """What TCP_INFO of linux/tcp.h says of the way out, in bytes; mss: without the options of each segment."""
    fields = struct.unpack_from("20I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 88), 8)
    return {"mss": fields[2], "pmtu": fields[13], "announced": fields[19]}


def never_fragments(made):
    made.setsockopt(*DISCOVER[made.family], PMTUDISC_DO)
    return made


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("closed")
        line += byte
    return line.decode().strip()


def digest_of(connection, count):
    """Of the next `count` bytes."""
    digest = hashlib.sha256()
    while count > 0:
        chunk = connection.recv(min(count, CHUNK))
        if not chunk:
            raise ConnectionError(f"closed, {count} bytes are missing")
        digest.update(chunk)
        count -= len(chunk)
    return digest.hexdigest()


def report(connection, **more):
    connection.sendall(f"{json.dumps(more)}\n".encode())


def serve_connection(identifier, connection):
    with connection:
        connection.settimeout(30)
        connection.sendall(f"{identifier}\n".encode())
        try:
            kind, count = read_line(connection).split()
            before = learned(connection)
            if kind == "upload":
                report(connection, sha256=digest_of(connection, int(count)), announced=before["announced"])
                return
            payload = os.urandom(int(count))
            connection.sendall(payload)
            read_line(connection)
            report(connection, sha256=hashlib.sha256(payload).hexdigest(), before=before, after=learned(connection))
        except OSError:
            # The client went, which tells why on its side.
            return


def serve_datagrams(identifier, vip, port):
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    server = never_fragments(socket.socket(family, socket.SOCK_DGRAM))
    server.bind((vip, port))

    def serve():
        while True:
            request, client = server.recvfrom(CHUNK)
            wanted = int(request.split()[0])
            try:
                server.sendto(request.ljust(wanted), client)
            except OSError as error:
                server.sendto(errno.errorcode[error.errno].encode(), client)

    threading.Thread(target=serve, daemon=True).start()


def serve(identifier, tcp_port, udp_port, *vips):
    for vip in vips:
        serve_datagrams(identifier, vip, int(udp_port))
    listener = socket.create_server(("::", int(tcp_port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_connection, args=(identifier, connection), daemon=True).start()


def opened(kind, asked, deadline):
    family = socket.AF_INET if asked["family"] == 4 else socket.AF_INET6
    made = socket.socket(family, kind)
    made.settimeout(max(0.01, deadline - time.monotonic()))
    made.bind((asked["source"], asked["sourcePort"]))
    made.connect((asked["destination"], asked["destinationPort"]))
    return made


def transfer(kind, connection, identifier, count):
    """What became of one: who served it, whether every byte arrived, what its sender knew before and after."""
    before = learned(connection)
    connection.sendall(f"{kind} {count}\n".encode())
    if kind == "upload":
        payload = os.urandom(count)
        connection.sendall(payload)
        arrived = json.loads(read_line(connection))
        intact = arrived["sha256"] == hashlib.sha256(payload).hexdigest()
        return {
            "identifier": identifier,
            "intact": intact,
            "before": {**before, "announced": arrived["announced"]},
            "after": learned(connection),
        }
    digest = digest_of(connection, count)
    connection.sendall(b"\n")
    sent = json.loads(read_line(connection))
    return {
        "identifier": identifier,
        "intact": sent["sha256"] == digest,
        "before": {**sent["before"], "announced": before["announced"]},
        "after": sent["after"],
    }


def transfers(kind, request):
    deadline = time.monotonic() + request["deadlineMs"] / 1000
    connections = [opened(socket.SOCK_STREAM, asked, deadline) for asked in request["connections"]]
    identifiers = [int(read_line(connection)) for connection in connections]

    def work(index):
        connection = connections[index]
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        return transfer(kind, connection, identifiers[index], request["bytes"])

    return at_once(work, len(connections))


def at_once(work, count):
    results = [None] * count

    def run(index):
        try:
            results[index] = work(index)
        except OSError as error:
            results[index] = {"error": str(error) or type(error).__name__}

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def exchange(client, request, answer, deadline):
    """Send `request` bytes that ask for `answer` bytes, until one comes: its length, or the error's name."""
    while time.monotonic() < deadline:
        try:
            client.send(str(answer).encode().ljust(request))
            if select.select([client], [], [], 0.1)[0]:
                came = client.recv(CHUNK)
                return came.decode() if came.startswith(b"E") else len(came)
        except OSError as error:
            return errno.errorcode[error.errno]
    return None


def datagrams(asked):
    deadline = time.monotonic() + asked["deadlineMs"] / 1000
    request, answer, fits = asked["request"], asked["answer"], asked["fits"]

    def work(index):
        client = never_fragments(opened(socket.SOCK_DGRAM, asked["connections"][index], deadline))
        # The first is told by an error that comes back, the second is refused before it is sent.
        sizes = [(request, fits), (request, fits), (fits, fits), (fits, answer), (fits, fits)]
        results = [exchange(client, *size, deadline) for size in sizes]
        pmtu = client.getsockopt(*PATH_MTU[client.family])
        return {"requests": results[:3], "pmtu": pmtu, "answers": results[3:]}

    return at_once(work, len(asked["connections"]))


command, *arguments = sys.argv[1:]
if command == "serve":
    serve(*arguments)
elif command == "datagrams":
    print(json.dumps(datagrams(json.load(sys.stdin))))
else:
    print(json.dumps(transfers(command, json.load(sys.stdin))))

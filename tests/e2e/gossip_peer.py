"""A member of the cluster written straight from the specification, sharing no code with the package.

It does the least that a peer must: answers pings and push/pulls, refutes what is said wrongly about it, sends keys and
tells of those that it is sent. Traffic can be dropped, either way, to split it from the others. Threads and blocking
sockets; run it as a program:

    python gossip_peer.py <port> <name> <label> [member to join]

Commands come line by line on stdin: `put <key> <codec> <hex>`, `drop`, `heal`, `sync <port>`, `leave`; events go to
stdout as JSON.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import sys
import threading
import zlib

VERSIONS = bytes([1, 5, 2, 0, 0, 0])


# The old msgpack: maps, raw strings, integers, booleans, nil.


def pack(value) -> bytes:
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        size = len(value)
        if size < 32:
            return bytes([0xA0 | size]) + value
        return (b"\xda" + struct.pack(">H", size) if size < 65536 else b"\xdb" + struct.pack(">I", size)) + value
    assert len(value) < 16
    return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())


class Reader:
    """Reads from a function that gives so many bytes."""

    def __init__(self, take) -> None:
        self.take = take

    def unpack(self):
        kind = self.take(1)[0]
        if kind < 0x80:
            return kind
        if kind & 0xE0 == 0xA0:
            return self.take(kind & 0x1F)
        if kind & 0xF0 == 0x80:
            return {self.unpack().decode(): self.unpack() for _ in range(kind & 0x0F)}
        if kind == 0xC0:
            return None
        if kind in (0xC2, 0xC3):
            return kind == 0xC3
        sizes = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xDA: ">H", 0xDB: ">I"}
        form = sizes[kind]
        number = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return self.take(number) if kind in (0xDA, 0xDB) else number


def reader_of(data: bytes) -> Reader:
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        piece = data[at : at + count]
        assert len(piece) == count, "cut off"
        at += count
        return piece

    return Reader(take)


def expand(data: bytes) -> bytes:
    """LZW, least significant bit first, by the book: dictionary of strings, codes of 9 to 12 bits."""
    bits = "".join(f"{byte:08b}"[::-1] for byte in data)
    out, table, previous, width, at = b"", {}, b"", 9, 0
    while True:
        code = int(bits[at : at + width][::-1], 2)
        at += width
        if code == 257:
            return out
        if code == 256:
            table, previous, width = {}, b"", 9
            continue
        if code < 256:
            entry = bytes([code])
        elif code in table:
            entry = table[code]
        else:
            entry = previous + previous[:1]
        if previous and len(table) + 258 < 4096:
            table[len(table) + 258] = previous + entry[:1]
        out += entry
        previous = entry
        if len(table) + 259 > 1 << width and width < 12:
            width += 1


def pair(key: str, codec: str, value: bytes) -> bytes:
    def field(number: int, data: bytes) -> bytes:
        size, head = len(data), bytes([number << 3 | 2])
        while size > 127:
            head += bytes([size & 127 | 128])
            size >>= 7
        return head + bytes([size]) + data

    return field(1, key.encode()) + field(2, value) + field(3, codec.encode())


class Peer:
    def __init__(self, port: int, name: str, label: str) -> None:
        self.port, self.name, self.label = port, name, label.encode()
        self.incarnation = 1
        self.members: dict[str, dict] = {}
        self.pairs: list[bytes] = []
        self.dropping = False
        self.left = False
        self.lock = threading.RLock()
        self.listener = socket.create_server(("127.0.0.1", port))

    def event(self, kind: str, **fields) -> None:
        with self.lock:
            print(json.dumps({"event": kind, **fields}), flush=True)

    def alive(self) -> bytes:
        return b"\x04" + pack(
            {
                "Incarnation": self.incarnation, "Node": self.name, "Addr": socket.inet_aton("127.0.0.1"),
                "Port": self.port, "Meta": b"", "Vsn": VERSIONS,
            }
        )  # fmt: skip

    def header(self) -> bytes:
        return b"\xf4" + bytes([len(self.label)]) + self.label if self.label else b""

    def send(self, port: int, message: bytes) -> None:
        if self.dropping:
            return
        source = f"127.0.0.1:{self.port}".encode()
        payload = self.header() + b"\x0c" + struct.pack(">I", zlib.crc32(message)) + message
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(b"\x01" + bytes([len(source)]) + source + payload + hashlib.md5(payload).digest())
        except OSError:
            pass

    def gossip(self, message: bytes) -> None:
        with self.lock:
            ports = [m["Port"] for n, m in self.members.items() if n != self.name and m["State"] < 2]
        for port in ports:
            self.send(port, message)

    def state(self, join: bool) -> bytes:
        with self.lock:
            user = b"".join(struct.pack(">I", len(p)) + p for p in self.pairs)
            me = {
                "Name": self.name, "Addr": socket.inet_aton("127.0.0.1"), "Port": self.port, "Meta": b"",
                "Incarnation": self.incarnation, "State": 0, "Vsn": VERSIONS,
            }  # fmt: skip
            head = {"Nodes": 1, "UserStateLen": len(user), "Join": join}
            return b"\x06" + pack(head) + pack(me) + user

    def exchange(self, port: int, join: bool) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"\x02" + self.header() + self.state(join))
            self.take_state(connection.makefile("rb").read)

    def take_state(self, read) -> None:
        def exactly(count: int) -> bytes:
            data = read(count)
            assert len(data) == count, "cut off"
            return data

        kind = exactly(1)[0]
        reader = Reader(exactly)
        if kind == 9:
            body = reader.unpack()
            assert body["Algo"] == 0
            reader = reader_of(expand(body["Buf"]))
            kind = reader.take(1)[0]
        assert kind == 6, f"push/pull wanted, got {kind}"
        head = reader.unpack()
        nodes = [reader.unpack() for _ in range(head["Nodes"])]
        user = reader.take(head["UserStateLen"])
        for node in nodes:
            self.heard_of(node["Name"].decode(), node["Incarnation"], node["State"], node["Port"])
        while user:
            size = struct.unpack(">I", user[:4])[0]
            self.event("pair", hex=user[4 : 4 + size].hex(), by="state")
            user = user[4 + size :]

    def heard_of(self, name: str, incarnation: int, state: int, port: int | None) -> None:
        if name == self.name:
            if self.left:  # what is said of it is true: who refuted it would be back in the cluster
                return
            if (state and incarnation >= self.incarnation) or incarnation > self.incarnation:
                self.incarnation = incarnation + 1
                self.event("refuted", incarnation=self.incarnation)
                self.gossip(self.alive())
            return
        with self.lock:
            known = self.members.get(name)
            if known is not None and (incarnation, state) <= (known["Incarnation"], known["State"]):
                return
            where = port if port is not None else known["Port"] if known else 0
            self.members[name] = {"Incarnation": incarnation, "State": state, "Port": where}
        self.event("member", name=name, state=state, incarnation=incarnation)

    def serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection: socket.socket) -> None:
        with connection:
            file = connection.makefile("rb")
            kind = file.read(1)
            if self.dropping:
                return
            if kind == b"\x02":
                if self.label:
                    assert file.read(2 + len(self.label)) == self.header(), "label"
                answer = self.state(join=False)
                self.take_state(file.read)
                connection.sendall(answer)
            elif kind == b"\x01":
                file.read(file.read(1)[0])
                data = file.read()
                payload, digest = data[:-16], data[-16:]
                assert hashlib.md5(payload).digest() == digest, "digest"
                self.packet(payload)

    def packet(self, data: bytes) -> None:
        assert data.startswith(self.header()), "label"
        data = data[len(self.header()) :]
        if data[0] == 12:
            assert struct.unpack(">I", data[1:5])[0] == zlib.crc32(data[5:]), "crc"
            data = data[5:]
        if data[0] == 9:
            data = expand(reader_of(data[1:]).unpack()["Buf"])
        if data[0] != 7:
            self.message(data)
            return
        at = 2 + 2 * data[1]
        for i in range(data[1]):
            size = struct.unpack(">H", data[2 + 2 * i : 4 + 2 * i])[0]
            self.message(data[at : at + size])
            at += size

    def message(self, data: bytes) -> None:
        kind = data[0]
        if kind == 8:
            self.event("pair", hex=data[1:].hex(), by="gossip")
            return
        body = reader_of(data[1:]).unpack()
        if kind == 0 and body["Node"] in (b"", self.name.encode()):
            self.send(body["SourcePort"], b"\x02" + pack({"SeqNo": body["SeqNo"], "Payload": None}))
            self.event("pinged", by=body["SourceNode"].decode())
        elif kind == 1:
            self.event("asked to ping", target=body["Node"].decode())
        elif kind in (3, 5):
            left = kind == 5 and body["Node"] == body["From"]
            state = 1 if kind == 3 else 3 if left else 2
            self.heard_of(body["Node"].decode(), body["Incarnation"], state, None)
        elif kind == 4:
            self.heard_of(body["Node"].decode(), body["Incarnation"], 0, body["Port"])

    def command(self, words: list[str]) -> None:
        match words:
            case ["put", key, codec, value]:
                data = pair(key, codec, bytes.fromhex(value))
                self.pairs.append(data)
                self.gossip(b"\x08" + data)
            case ["drop"]:
                self.dropping = True
            case ["heal"]:
                self.dropping = False
            case ["sync", port]:
                self.exchange(int(port), join=False)
            case ["leave"]:
                self.left = True
                self.gossip(b"\x05" + pack({"Incarnation": self.incarnation, "Node": self.name, "From": self.name}))
        self.event("done", command=words[0])


def main() -> None:
    peer = Peer(int(sys.argv[1]), sys.argv[2], sys.argv[3])
    threading.Thread(target=peer.serve, daemon=True).start()
    if len(sys.argv) > 4:
        peer.exchange(int(sys.argv[4]), join=True)
    peer.event("ready")
    for line in sys.stdin:
        peer.command(line.split())


if __name__ == "__main__":
    main()

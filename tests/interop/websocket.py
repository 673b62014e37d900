"""WebSocket: a server on the `websockets` library, one that gives back all bytes untouched, and a
client with frames of its own over HTTP/1.1 or HTTP/2."""
import asyncio
import base64
import hashlib
import http
import os
import socket
import ssl
import struct
import sys

import rows
from rows import equal

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0


async def serve(library, raw):
    import websockets

    async def echo(connection, path):
        if path.startswith("/greet"):
            await connection.send("welcome")
        if path.startswith("/close/"):
            await connection.close(int(path.split("/")[2]), "as asked")
            return
        async for message in connection:
            await connection.send(message)

    async def refuse(path, headers):
        if path == "/refuse":
            return http.HTTPStatus.FORBIDDEN, [("x-why", "no")], b"no entry"

    async def give_back(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line.split(b":", 1)[1].strip() for line in head.split(b"\r\n")
                   if line.lower().startswith(b"sec-websocket-key:"))
        digest = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + digest + b"\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async with websockets.serve(echo, "127.0.0.1", library, max_size=None, compression="deflate",
                                process_request=refuse, subprotocols=["chat", "superchat"]):
        async with await asyncio.start_server(give_back, "127.0.0.1", raw):
            await asyncio.Event().wait()


class Http1:
    def __init__(self, host, path, fields=()):
        sock = socket.create_connection(("127.0.0.1", PORT), timeout=20)
        self.sock = CONTEXT.wrap_socket(sock, server_hostname=host) if CONTEXT else sock
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket",
                 "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
                 *(f"{name}: {value}" for name, value in fields), "", ""]
        self.sock.sendall("\r\n".join(lines).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            if not byte:
                raise AssertionError(f"ended in the head {head}")
            head += byte
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip()
                       for line in lines if line}
        if self.status == 101:
            digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            equal(self.fields.get("sec-websocket-accept"), base64.b64encode(digest).decode())
            self.status = 200

    def send(self, data):
        self.sock.sendall(data)

    def receive(self):
        return self.sock.recv(65536)


class Http2:
    def __init__(self, host, path, fields=()):
        import h2.config
        import h2.connection
        import h2.events
        self.events = h2.events
        sock = socket.create_connection(("127.0.0.1", PORT), timeout=20)
        self.sock = CONTEXT.wrap_socket(sock, server_hostname=host) if CONTEXT else sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        self.data, self.ended, self.status, self.told = b"", False, None, None
        while self.told is None:
            self.pump()
        if self.told != 1:
            raise AssertionError("SETTINGS_ENABLE_CONNECT_PROTOCOL is not told (RFC 8441, section 3)")
        scheme = "https" if CONTEXT else "http"
        self.h2.send_headers(1, [(":method", "CONNECT"), (":protocol", "websocket"),
                                 (":scheme", scheme), (":path", path), (":authority", host),
                                 ("sec-websocket-version", "13"),
                                 *((name.lower(), value) for name, value in fields)])
        self.flush()
        while self.status is None:
            self.pump()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def pump(self):
        data = self.sock.recv(65536)
        if not data:
            self.ended = True
            raise AssertionError("the connection ended")
        for event in self.h2.receive_data(data):
            if isinstance(event, self.events.RemoteSettingsChanged):
                changed = event.changed_settings.get(8)
                self.told = changed.new_value if changed else self.told or 0
            elif isinstance(event, self.events.ResponseReceived):
                self.fields = dict(event.headers)
                self.status = int(self.fields[":status"])
            elif isinstance(event, self.events.DataReceived):
                self.data += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, (self.events.StreamEnded, self.events.StreamReset)):
                self.ended = True
            elif isinstance(event, self.events.ConnectionTerminated):
                raise AssertionError(f"GOAWAY {event.error_code}")
        self.flush()

    def send(self, data):
        at = 0
        while at < len(data):
            room = min(self.h2.local_flow_control_window(1), self.h2.max_outbound_frame_size)
            if room == 0:
                self.pump()
                continue
            self.h2.send_data(1, data[at:at + room])
            at += room
            self.flush()

    def receive(self):
        while not self.data and not self.ended:
            self.pump()
        data, self.data = self.data, b""
        return data


class Frames:
    def __init__(self, path="/", host="a.test", fields=()):
        self.over = (Http2 if KIND.startswith("http2") else Http1)(host, path, fields)
        self.buffer = b""

    def bytes(self, count):
        while len(self.buffer) < count:
            data = self.over.receive()
            if not data:
                raise AssertionError(f"ended with {len(self.buffer)} of {count} bytes")
            self.buffer += data
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send(self, opcode, payload=b"", fin=True, rsv=0):
        self.over.send(frame(opcode, payload, fin, rsv))

    def receive(self):
        first, second = self.bytes(2)
        length = second & 127
        if length == 126:
            length, = struct.unpack(">H", self.bytes(2))
        elif length == 127:
            length, = struct.unpack(">Q", self.bytes(8))
        return first & 15, bool(first & 128), self.bytes(length)

    def message(self):
        """The next message; pongs between its fragments are counted."""
        opcode, fin, payload = self.receive()
        while not fin:
            more, fin, part = self.receive()
            payload += part
        return opcode, payload

    def closed(self, code):
        opcode, _, payload = self.receive()
        equal(opcode, CLOSE)
        equal(struct.unpack(">H", payload[:2])[0] if payload else None, code)


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True):
    first = (128 if fin else 0) | rsv << 4 | opcode
    length = len(payload)
    if length < 126:
        head = bytes([first, 128 * masked | length])
    elif length < 65536:
        head = bytes([first, 128 * masked | 126]) + struct.pack(">H", length)
    else:
        head = bytes([first, 128 * masked | 127]) + struct.pack(">Q", length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    key = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(length, "big")


def echoed(opcode, payload):
    def case():
        ws = Frames()
        equal(ws.over.status, 200)
        ws.send(opcode, payload)
        equal(ws.message(), (opcode, payload))
        ws.send(CLOSE, struct.pack(">H", 1000))
        ws.closed(1000)
    return case


def many(count, opcode, size):
    def case():
        ws = Frames()
        payloads = [bytes([97 + n % 26]) * size for n in range(count)]
        for payload in payloads:
            ws.send(opcode, payload)
        for payload in payloads:
            equal(ws.message(), (opcode, payload))
    return case


def fragments(parts, between=None):
    def case():
        ws = Frames()
        for number, part in enumerate(parts):
            ws.send(TEXT if number == 0 else MORE, part, fin=number == len(parts) - 1)
            if between is not None and number < len(parts) - 1:
                ws.send(PING, between)
                equal(ws.receive(), (PONG, True, between))
        equal(ws.message(), (TEXT, b"".join(parts)))
    return case


def pinged(payload):
    def case():
        ws = Frames()
        ws.send(PING, payload)
        equal(ws.receive(), (PONG, True, payload))
    return case


def pong():
    ws = Frames()
    ws.send(PONG, b"unasked")
    ws.send(PING, b"asked")
    equal(ws.receive(), (PONG, True, b"asked"))


def answered_by(frames, code):
    def case():
        ws = Frames()
        for one in frames:
            ws.over.send(one)
        ws.closed(code)
    return case


def close(code, reason=b""):
    def case():
        ws = Frames()
        ws.send(CLOSE, struct.pack(">H", code) + reason)
        opcode, _, payload = ws.receive()
        equal((opcode, payload), (CLOSE, struct.pack(">H", code) + reason))
        equal(ws.over.receive(), b"")
    return case


def close_empty():
    ws = Frames()
    ws.send(CLOSE)
    ws.closed(None)


def close_from_server(code):
    def case():
        ws = Frames(f"/close/{code}")
        opcode, _, payload = ws.receive()
        equal((opcode, payload), (CLOSE, struct.pack(">H", code) + b"as asked"))
    return case


def untouched(data):
    """Bytes that no careful endpoint sends: a tunnel does not look at them."""
    def case():
        ws = Frames(host="raw.test")
        equal(ws.over.status, 200)
        ws.over.send(data)
        equal(ws.bytes(len(data)), data)
    return case


def bit_by_bit():
    ws = Frames()
    for byte in frame(TEXT, b"slowly"):
        ws.over.send(bytes([byte]))
    equal(ws.message(), (TEXT, b"slowly"))


def early():
    ws = Frames("/greet")
    equal(ws.message(), (TEXT, b"welcome"))


def subprotocol():
    ws = Frames(fields=[("Sec-WebSocket-Protocol", "superchat, chat")])
    equal(ws.over.fields.get("sec-websocket-protocol") in ("chat", "superchat"), True)


def extension():
    ws = Frames(fields=[("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")])
    equal(ws.over.fields.get("sec-websocket-extensions", "").startswith("permessage-deflate"), True)
    import zlib
    deflate = zlib.compressobj(wbits=-15)
    payload = b"again and " * 1000
    packed = (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    ws.send(TEXT, packed, rsv=4)
    first, second = ws.bytes(2)
    equal(first & 0x40, 0x40)
    length = second & 127
    if length == 126:
        length, = struct.unpack(">H", ws.bytes(2))
    equal(zlib.decompressobj(wbits=-15).decompress(ws.bytes(length) + b"\0\0\xff\xff"), payload)


def refused():
    equal(Frames("/refuse").over.status, 403)


def library():
    import websockets

    async def run():
        scheme = "wss" if CONTEXT else "ws"
        async with websockets.connect(f"{scheme}://a.test:{PORT}/", host="127.0.0.1", port=PORT,
                                      ssl=CONTEXT, server_hostname="a.test" if CONTEXT else None,
                                      max_size=None) as ws:
            for message in ["text", b"\0\1\2", "", "\U0001f980" * 1000, os.urandom(1 << 20)]:
                await ws.send(message)
                equal(await ws.recv(), message)
            await ws.send(["in ", "three ", "parts"])
            equal(await ws.recv(), "in three parts")
            await (await ws.ping())
    asyncio.run(run())


def cases():
    for size in [0, 1, 125, 126, 127, 128, 65535, 65536, 1 << 20]:
        yield f"1.1 text of {size}", echoed(TEXT, b"*" * size)
        yield f"1.2 binary of {size}", echoed(BINARY, b"\xfe" * size)
    yield "1 octet by octet", bit_by_bit
    for payload in [b"", b"Hello", bytes(range(125)), b"\xfe" * 125]:
        yield f"2 ping of {len(payload)} beginning {payload[:1]}", pinged(payload)
    yield "2.5 ping of 126", answered_by([frame(PING, b"x" * 126)], 1002)
    yield "2.7 pong that nobody asked for", pong
    for rsv in range(1, 8):
        yield f"3 reserved bits {rsv} pass", untouched(frame(TEXT, b"Hello", rsv=rsv))
        yield f"3 reserved bits {rsv} are the server's to refuse", answered_by([frame(TEXT, b"Hello", rsv=rsv)], 1002)
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]:
        yield f"4 opcode {opcode} passes", untouched(frame(opcode, b"Hello"))
        yield f"4 opcode {opcode} is the server's to refuse", answered_by([frame(opcode, b"Hello")], 1002)
    yield "4 frames without mask pass", untouched(frame(TEXT, b"Hello", masked=False))
    yield "4 a length of 2^63 passes", untouched(b"\x82\xff" + b"\x80" + b"\0" * 7 + b"mask")
    yield "4 no frames at all pass", untouched(bytes(range(256)) + b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    yield "5.3 two fragments", fragments([b"frag", b"ment"])
    yield "5.6 two fragments and a ping between", fragments([b"frag", b"ment"], b"ping")
    yield "5 empty fragments", fragments([b"", b"", b"x", b""])
    yield "5 a hundred fragments", fragments([b"x" * 50] * 100)
    yield "5.9 a fragment of nothing", answered_by([frame(MORE, b"x")], 1002)
    yield "5.1 a ping in fragments", answered_by([frame(PING, b"x", fin=False)], 1002)
    yield "5.18 a message within a message", answered_by([frame(TEXT, b"x", fin=False), frame(TEXT, b"y")], 1002)
    yield "6.2 UTF-8", echoed(TEXT, "\u03ba\u1f79\u03c3\u03bc\u03b5 \U00010348 \U0010ffff".encode())
    yield "6.2 UTF-8 cut in fragments", fragments(["\u20ac".encode()[:1], "\u20ac".encode()[1:]])
    for bad in [b"\xce\xba\xed\xa0\x80x", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xff", b"\xed\xa0\x80"]:
        yield f"6 no UTF-8 {bad.hex()}", answered_by([frame(TEXT, bad)], 1007)
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]:
        yield f"7.7 close {code}", close(code, b"reason")
    yield "7.3 close without a code", close_empty
    yield "7.3 close with the longest reason", close(1000, b"*" * 123)
    yield "7.3 close with a code of one octet", answered_by([frame(CLOSE, b"x")], 1002)
    for code in [0, 999, 1004, 1005, 1006, 1100, 2000, 5000]:
        yield f"7.9 close with the code {code}", answered_by([frame(CLOSE, struct.pack('>H', code))], 1002)
    for code in [1000, 1001, 1011, 4000]:
        yield f"7 the server closes with {code}", close_from_server(code)
    yield "9.1 text of 16 MB", echoed(TEXT, b"*" * (16 << 20))
    yield "9.2 binary of 16 MB", echoed(BINARY, b"\xfe" * (16 << 20))
    yield "9.3 4 MB in fragments of 64 kB", fragments([b"x" * 65536] * 64)
    yield "9.7 a thousand texts", many(1000, TEXT, 64)
    yield "9.8 a thousand binaries of 1 kB", many(1000, BINARY, 1024)
    yield "10.1 64 kB in fragments of 1300", fragments([b"x" * 1300] * 50)
    yield "12 compression is agreed and used", extension
    yield "13 a subprotocol is agreed", subprotocol
    yield "what the server says at once", early
    yield "a refusal is passed on", refused
    if KIND.startswith("http1"):
        yield "the library's own client", library


if sys.argv[1] == "server":
    asyncio.run(serve(int(sys.argv[2]), int(sys.argv[3])))
else:
    KIND, PORT = sys.argv[2], int(sys.argv[3])
    CONTEXT = None
    if KIND.endswith("tls"):
        CONTEXT = ssl.create_default_context(cafile=sys.argv[4])
        CONTEXT.set_alpn_protocols(["h2" if KIND.startswith("http2") else "http/1.1"])
    rows.run(cases())

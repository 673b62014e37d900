"""httpx over HTTP/1.1 and HTTP/2 against `app.py`: httpx PORT-HTTP PORT-HTTPS CA."""
import asyncio
import hashlib
import os
import socket
import sys

import httpx
import rows
from rows import equal

HTTP, HTTPS, CA = sys.argv[1], sys.argv[2], sys.argv[3]


def client(version, tls):
    import ssl
    verify = ssl.create_default_context(cafile=CA) if tls else False
    return httpx.AsyncClient(
        http1=version == "HTTP/1.1", http2=version == "HTTP/2", verify=verify, timeout=20,
        base_url=f"https://a.test:{HTTPS}" if tls else f"http://a.test:{HTTP}")


def over(version, tls, work):
    def case():
        async def run():
            async with client(version, tls) as own:
                await asyncio.wait_for(work(own, version), 30)
        asyncio.run(run())
    return case


async def get(own, version):
    answer = await own.get("/echo?a=b")
    equal((answer.status_code, answer.http_version, answer.json()["target"]), (200, version, "/echo?a=b"))


async def head(own, version):
    answer = await own.head("/echo")
    equal((answer.status_code, answer.content), (200, b""))


async def upload(own, version):
    body = os.urandom(5_000_000)
    answer = await own.post("/echo", content=body)
    equal(answer.json()["sha256"], hashlib.sha256(body).hexdigest())


async def upload_in_pieces(own, version):
    async def pieces():
        for number in range(100):
            yield bytes([number]) * 10_000
    answer = await own.post("/echo", content=pieces())
    equal(answer.json()["length"], 1_000_000)


async def download(own, version):
    answer = await own.get("/bytes/5000000")
    equal(len(answer.content), 5_000_000)


async def side_by_side(own, version):
    answers = await asyncio.gather(*(own.get(f"/echo?n={n}") for n in range(100)))
    equal([answer.json()["target"] for answer in answers], [f"/echo?n={n}" for n in range(100)])


async def statuses(own, version):
    for code in [201, 204, 304, 301, 400, 404, 418, 500, 503]:
        answer = await own.get(f"/status/{code}", follow_redirects=False)
        equal(answer.status_code, code)


async def events(own, version):
    async with own.stream("GET", "/events") as answer:
        lines = answer.aiter_lines()
        equal((await anext(lines)).strip(), "data: first")
        equal((await own.post("/events/go")).text, "gone")
        rest = [line.strip() async for line in lines]
        equal("data: second" in rest, True)


async def grpc_web(own, version):
    message = b"\0\0\0\0\x05hello"
    answer = await own.post("/grpc-web", content=message,
                            headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"})
    equal(answer.headers["content-type"], "application/grpc-web+proto")
    equal(answer.content[:10], message)
    equal(answer.content[15:], b"grpc-status:0\r\ngrpc-message:fine\r\n")


async def cookies(own, version):
    answer = await own.get("/echo", headers=[("cookie", "a=1; b=2")])
    equal(answer.json()["headers"].get("Cookie", answer.json()["headers"].get("cookie")), "a=1; b=2")


def cases():
    for version, tls in [("HTTP/1.1", False), ("HTTP/1.1", True), ("HTTP/2", True)]:
        for name, work in [("GET", get), ("HEAD", head), ("upload", upload),
                           ("upload in pieces", upload_in_pieces), ("download", download),
                           ("a hundred side by side", side_by_side), ("statuses", statuses),
                           ("events are not held back", events), ("gRPC-Web", grpc_web), ("cookies", cookies)]:
            yield f"{version}{' TLS' if tls else ''}: {name}", over(version, tls, work)


# No name server knows the name.
resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: resolve(
    "127.0.0.1" if host in ("a.test", b"a.test") else host, *rest, **more)
rows.run(cases())

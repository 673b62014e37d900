"""Backends of Python: tell in `x-seen` what they understood of each request."""
import asyncio
import sys


def with_aiohttp(port):
    from aiohttp import web

    async def handle(request):
        body = await request.read()
        seen = f"{request.method} {request.raw_path.encode('utf-8', 'surrogateescape').hex()} {request.headers.get('host', '')} ={body.hex()}"
        return web.Response(text="ok", headers={"x-seen": seen})

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{tail:.*}", handle)

    async def serve():
        runner = web.AppRunner(app, access_log=None, max_line_size=1 << 17, max_field_size=1 << 17)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    asyncio.run(serve())


def with_http_server(port):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name):
            if name.startswith("do_"):
                return self.handle_any
            raise AttributeError(name)

        def handle_any(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            # Python reads fields and lines as Latin-1.
            target = self.requestline.split(" ")[1].encode("latin-1")
            self.send_response(200)
            self.send_header("content-length", "2")
            self.send_header("x-seen", f"{self.command} {target.hex()} {self.headers.get('host', '')} ={body.hex()}")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(b"ok")

        def log_message(self, *arguments):
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


{"aiohttp": with_aiohttp, "http.server": with_http_server}[sys.argv[1]](int(sys.argv[2]))

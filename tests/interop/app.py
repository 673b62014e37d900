"""The backend that the clients of others are pointed at: echo, bytes, events, WebSocket, a page."""
import asyncio
import hashlib
import json
import sys

from aiohttp import WSMsgType, web

GO = asyncio.Event()
RESULT = {}

PAGE = """<!doctype html><meta charset=utf-8><title>Penstock</title><script>
(async () => {
  const result = {};
  const attempt = async (name, work) => {
    const late = new Promise((_, no) => setTimeout(() => no(new Error('no answer in time')), 8000));
    try { result[name] = await Promise.race([work(), late]); } catch (error) { result[name] = 'FAILED ' + error; }
  };
  await attempt('page', async () => performance.getEntriesByType('navigation')[0].nextHopProtocol);
  await attempt('fetch', async () => {
    const answer = await fetch('/echo?q=1', { method: 'POST', body: 'x'.repeat(300000) });
    const text = await answer.json();
    return [answer.status, text.method, text.length].join(' ');
  });
  await attempt('many', async () => {
    const all = await Promise.all([...Array(50).keys()].map((n) => fetch('/echo?n=' + n).then((a) => a.json())));
    return all.filter((a, n) => a.target === '/echo?n=' + n).length;
  });
  await attempt('bytes', async () => (await (await fetch('/bytes/3000000')).arrayBuffer()).byteLength);
  await attempt('websocket', () => new Promise((yes, no) => {
    const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
    socket.onopen = () => socket.send('hello');
    socket.onmessage = (event) => { yes(event.data); socket.close(); };
    socket.onerror = () => no(new Error('socket'));
  }));
  await attempt('events', () => new Promise((yes, no) => {
    const events = [];
    const source = new EventSource('/events');
    source.onmessage = (event) => {
      events.push(event.data);
      // The second event is sent only for this request: the first one came while the answer was open.
      if (event.data === 'first') fetch('/events/go', { method: 'POST' });
      if (event.data === 'second') { source.close(); yes(events.join(' ')); }
    };
    source.onerror = () => no(new Error('events'));
  }));
  await fetch('/result', { method: 'POST', body: JSON.stringify(result) });
})();
</script>"""


async def echo(request):
    body = await request.read()
    return web.json_response({
        "method": request.method, "target": request.raw_path, "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(), "headers": dict(request.headers)})


async def duplex(request):
    """Gives back each piece as it comes."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    async for piece in request.content.iter_any():
        await answer.write(piece)
    await answer.write_eof()
    return answer


async def octets(request):
    answer = web.StreamResponse()
    left = int(request.match_info["count"])
    if "length" in request.query:
        answer.content_length = left
    await answer.prepare(request)
    while left:
        size = min(left, 65536)
        await answer.write(b"." * size)
        left -= size
    await answer.write_eof()
    return answer


async def events(request):
    GO.clear()
    answer = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
    await answer.prepare(request)
    await answer.write(b"data: first\n\n")
    await GO.wait()
    await answer.write(b"data: second\n\n")
    await answer.write_eof()
    return answer


async def go(request):
    GO.set()
    return web.Response(text="gone")


async def socket(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        if message.type == WSMsgType.TEXT:
            await ws.send_str("echo " + message.data)
    return ws


async def status(request):
    return web.Response(status=int(request.match_info["code"]), headers={"location": "/elsewhere"})


async def grpc_web(request):
    """A message and, as gRPC-Web has it, the trailers as a frame of the body."""
    body = await request.read()
    trailers = b"grpc-status:0\r\ngrpc-message:fine\r\n"
    return web.Response(body=body + b"\x80" + len(trailers).to_bytes(4, "big") + trailers,
                        content_type=request.content_type)


async def result(request):
    if request.method == "POST":
        RESULT.update(json.loads(await request.read()))
        return web.Response(text="thanks")
    return web.json_response(RESULT)


async def page(request):
    return web.Response(text=PAGE, content_type="text/html")


async def main(port):
    app = web.Application(client_max_size=1 << 30)
    app.add_routes([
        web.route("*", "/echo", echo), web.post("/duplex", duplex), web.put("/duplex", duplex),
        web.get("/bytes/{count}", octets), web.get("/events", events), web.post("/events/go", go),
        web.get("/ws", socket), web.route("*", "/status/{code}", status), web.post("/grpc-web", grpc_web),
        web.route("*", "/result", result), web.get("/", page)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))

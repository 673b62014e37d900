"""grpcio: a server, and a client of every kind of call: `server PORT`, `client PORT-HTTP PORT-HTTPS CA`."""
import sys
import threading
import time
from concurrent import futures

import grpc
import rows
from rows import equal

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Service(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        kinds = {"Unary": grpc.unary_unary_rpc_method_handler, "Fail": grpc.unary_unary_rpc_method_handler,
                 "Slow": grpc.unary_unary_rpc_method_handler, "Metadata": grpc.unary_unary_rpc_method_handler,
                 "Up": grpc.stream_unary_rpc_method_handler, "Down": grpc.unary_stream_rpc_method_handler,
                 "Forever": grpc.unary_stream_rpc_method_handler, "DownFail": grpc.unary_stream_rpc_method_handler,
                 "Both": grpc.stream_stream_rpc_method_handler, "Left": grpc.unary_unary_rpc_method_handler}
        return kinds[name](getattr(self, name)) if name in kinds else None

    left = threading.Event()

    def Unary(self, message, context):
        return b"echo " + message

    def Fail(self, message, context):
        context.set_trailing_metadata([("x-why", "asked"), ("x-data-bin", b"\0\xff")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked, 100% \u00e9")

    def Slow(self, message, context):
        self.leaving(context).wait(30)
        return b"late"

    def Metadata(self, message, context):
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata([("x-initial", sent["x-sent"])])
        context.set_trailing_metadata([("x-trailing-bin", sent["x-sent-bin"])])
        left = context.time_remaining()
        return f"{left is not None and left < 20}".encode()

    def Up(self, messages, context):
        return b"%d" % sum(len(message) for message in messages)

    def Down(self, message, context):
        for number in range(int(message)):
            yield b"%d" % number

    def DownFail(self, message, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "after one")

    def Forever(self, message, context):
        left = self.leaving(context)
        yield b"."
        left.wait(30)

    def leaving(self, context):
        """What is set as soon as the client has left the call, or its deadline has passed."""
        Service.left.clear()
        if not context.add_callback(Service.left.set):
            Service.left.set()
        return Service.left

    def Left(self, message, context):
        return b"%d" % Service.left.wait(5)

    def Both(self, messages, context):
        for message in messages:
            yield b"echo " + message


def call(channel, name):
    kind = {"Up": channel.stream_unary, "Down": channel.unary_stream, "Forever": channel.unary_stream,
            "DownFail": channel.unary_stream, "Both": channel.stream_stream}.get(name, channel.unary_unary)
    return kind(f"/proof.Proof/{name}")


def failure(work):
    try:
        work()
    except grpc.RpcError as error:
        return error
    raise AssertionError("no error")


def unary(channel):
    equal(call(channel, "Unary")(b"hi", timeout=10), b"echo hi")


def empty(channel):
    equal(call(channel, "Unary")(b"", timeout=10), b"echo ")


def big(channel):
    message = bytes(range(256)) * 32768
    equal(call(channel, "Unary")(message, timeout=30), b"echo " + message)


def up(channel):
    equal(call(channel, "Up")((b"x" * 1000 for _ in range(1000)), timeout=30), b"1000000")


def down(channel):
    equal(list(call(channel, "Down")(b"1000", timeout=30)), [b"%d" % n for n in range(1000)])


def both(channel):
    """Each answer is waited for before the next message is sent: nothing may be held back."""
    answered = threading.Semaphore(0)

    def messages():
        for number in range(50):
            yield b"%d" % number
            if not answered.acquire(timeout=10):
                return
    got = []
    for message in call(channel, "Both")(messages(), timeout=30):
        got.append(message)
        answered.release()
    equal(got, [b"echo %d" % number for number in range(50)])


def status(channel):
    error = failure(lambda: call(channel, "Fail")(b"", timeout=10))
    equal((error.code(), error.details()), (grpc.StatusCode.FAILED_PRECONDITION, "as asked, 100% \u00e9"))
    trailers = dict(error.trailing_metadata())
    equal((trailers.get("x-why"), trailers.get("x-data-bin")), ("asked", b"\0\xff"))


def status_after_messages(channel):
    got = []
    error = failure(lambda: got.extend(iter(call(channel, "DownFail")(b"", timeout=10))))
    equal((error.code(), error.details()), (grpc.StatusCode.DATA_LOSS, "after one"))


def unknown(channel):
    equal(failure(lambda: call(channel, "Nothing")(b"", timeout=10)).code(), grpc.StatusCode.UNIMPLEMENTED)


def deadline(channel):
    start = time.monotonic()
    error = failure(lambda: call(channel, "Slow")(b"", timeout=0.5))
    equal(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    equal(time.monotonic() - start < 2.5, True)
    # The server knows it too.
    equal(call(channel, "Left")(b"", timeout=10), b"1")


def metadata(channel):
    sent = [("x-sent", "1"), ("x-sent-bin", b"\1\xfe")]
    answer, done = call(channel, "Metadata").with_call(b"", timeout=10, metadata=sent)
    equal(dict(done.initial_metadata()).get("x-initial"), "1")
    equal(dict(done.trailing_metadata()).get("x-trailing-bin"), b"\1\xfe")
    # grpc-timeout went the whole way.
    equal(answer, b"True")


def cancel(channel):
    stream = call(channel, "Forever")(b"", timeout=30)
    next(stream)
    stream.cancel()
    equal(call(channel, "Left")(b"", timeout=10), b"1")


def many(channel):
    one = call(channel, "Unary")
    calls = [one.future(b"%d" % n, timeout=30) for n in range(300)]
    equal([own.result() for own in calls], [b"echo %d" % n for n in range(300)])


def serve(port):
    server = grpc.server(futures.ThreadPoolExecutor(32), handlers=[Service()], options=OPTIONS)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def client(http, https, ca):
    options = [*OPTIONS, ("grpc.enable_http_proxy", 0)]

    def over(tls, work):
        def case():
            if tls:
                credentials = grpc.ssl_channel_credentials(open(ca, "rb").read())
                own = [*options, ("grpc.ssl_target_name_override", "grpc.test"), ("grpc.default_authority", "grpc.test")]
                channel = grpc.secure_channel(f"127.0.0.1:{https}", credentials, own)
            else:
                own = [*options, ("grpc.default_authority", "grpc.test")]
                channel = grpc.insecure_channel(f"127.0.0.1:{http}", own)
            with channel:
                work(channel)
        return case

    for tls in [False, True]:
        for work in [unary, empty, big, up, down, both, status, status_after_messages, unknown, deadline,
                     metadata, cancel, many]:
            yield f"{'TLS' if tls else 'clear'}: {work.__name__.replace('_', ' ')}", over(tls, work)


if sys.argv[1] == "server":
    serve(sys.argv[2])
else:
    rows.run(client(*sys.argv[2:5]))

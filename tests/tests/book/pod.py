"""What stands for a pod on a page's machine: says which pod it is and what it was asked.

`pod.py PORT NAME`: `/slow` never answers, `/status/NNN` answers so.
"""

import http.server
import sys
import time


class Pod(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":
            time.sleep(600)
        parts = self.path.split("/")
        status = int(parts[2]) if parts[1] == "status" else 200
        client = self.headers.get("X-Real-IP", "-")
        scheme = self.headers.get("X-Forwarded-Proto", "-")
        text = f"{sys.argv[2]}: {self.command} {self.path} from {client} by {scheme}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Pod).serve_forever()

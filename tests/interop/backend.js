// A backend on node's http: tells in `x-seen` what it understood of each request.
'use strict';
const hex = (buffer) => buffer.toString('hex');
require('http').createServer({ insecureHTTPParser: false, maxHeaderSize: 1 << 17 }, (request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const seen = [request.method, hex(Buffer.from(request.url, 'latin1')), request.headers.host,
      '=' + hex(Buffer.concat(parts))].join(' ');
    response.writeHead(200, { 'content-length': 2, 'x-seen': seen });
    response.end(request.method === 'HEAD' ? '' : 'ok');
  });
}).listen(Number(process.argv[2]), '127.0.0.1');

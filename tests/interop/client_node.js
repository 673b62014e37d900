// node's fetch and http2 against `app.py`: PORT-HTTP PORT-HTTPS CA. The host is `localhost`.
'use strict';
const http2 = require('http2');
const fs = require('fs');
require('dns').setDefaultResultOrder('ipv4first');
const [http, https, authority] = process.argv.slice(2);
const ca = fs.readFileSync(authority);
const equal = (got, wanted) => {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    throw new Error(`${JSON.stringify(got)} is not ${JSON.stringify(wanted)}`.slice(0, 300));
  }
};
const within = (work) => Promise.race([work, new Promise((_, no) => setTimeout(() => no(new Error('no end in time')), 20000).unref())]);

const fetches = (base) => ({
  GET: async () => {
    const answer = await fetch(`${base}/echo?a=b`);
    equal([answer.status, (await answer.json()).target], [200, '/echo?a=b']);
  },
  upload: async () => {
    const answer = await fetch(`${base}/echo`, { method: 'POST', body: Buffer.alloc(5000000) });
    equal((await answer.json()).length, 5000000);
  },
  'upload of a stream': async () => {
    const body = new ReadableStream({
      start(controller) { for (let n = 0; n < 100; n++) controller.enqueue(new Uint8Array(10000)); controller.close(); },
    });
    const answer = await fetch(`${base}/echo`, { method: 'POST', body, duplex: 'half' });
    equal((await answer.json()).length, 1000000);
  },
  download: async () => equal((await (await fetch(`${base}/bytes/5000000`)).arrayBuffer()).byteLength, 5000000),
  'side by side': async () => {
    const all = await Promise.all([...Array(100).keys()].map((n) => fetch(`${base}/echo?n=${n}`).then((a) => a.json())));
    equal(all.map((a) => a.target), [...Array(100).keys()].map((n) => `/echo?n=${n}`));
  },
  'events are not held back': async () => {
    const answer = await fetch(`${base}/events`);
    const reader = answer.body.getReader();
    equal(Buffer.from((await reader.read()).value).toString(), 'data: first\n\n');
    await (await fetch(`${base}/events/go`, { method: 'POST' })).text();
    equal(Buffer.from((await reader.read()).value).toString(), 'data: second\n\n');
    equal((await reader.read()).done, true);
  },
  'a client that leaves': async () => {
    const abort = new AbortController();
    const answer = await fetch(`${base}/bytes/100000000`, { signal: abort.signal });
    await answer.body.getReader().read();
    abort.abort();
    equal((await fetch(`${base}/echo`)).status, 200);
  },
});

const streams = (base) => {
  const session = () => {
    const own = http2.connect(base, { ca });
    own.on('error', () => {});
    return own;
  };
  const ask = (own, fields, body) => new Promise((yes, no) => {
    const stream = own.request(fields);
    const parts = [];
    let status;
    stream.on('response', (answer) => { status = answer[':status']; });
    stream.on('data', (part) => parts.push(part));
    stream.on('end', () => yes([status, Buffer.concat(parts)]));
    stream.on('error', no);
    stream.end(body);
  });
  return {
    GET: async () => {
      const own = session();
      const [status, body] = await ask(own, { ':path': '/echo?a=b' });
      equal([status, JSON.parse(body).target], [200, '/echo?a=b']);
      own.close();
    },
    upload: async () => {
      const own = session();
      const [, body] = await ask(own, { ':path': '/echo', ':method': 'POST' }, Buffer.alloc(5000000));
      equal(JSON.parse(body).length, 5000000);
      own.close();
    },
    'a hundred streams': async () => {
      const own = session();
      const all = await Promise.all([...Array(100).keys()].map((n) => ask(own, { ':path': `/echo?n=${n}` })));
      equal(all.map(([, body]) => JSON.parse(body).target), [...Array(100).keys()].map((n) => `/echo?n=${n}`));
      own.close();
    },
    'both ways at once': async () => {
      const own = session();
      const stream = own.request({ ':path': '/duplex', ':method': 'POST' });
      for (const word of ['one', 'two', 'three']) {
        stream.write(word);
        const [part] = await require('events').once(stream, 'data');
        equal(part.toString(), word);
      }
      stream.end();
      await require('events').once(stream, 'end');
      own.close();
    },
    ping: () => new Promise((yes, no) => {
      const own = session();
      own.once('connect', () => own.ping((error) => { error ? no(error) : yes(); own.close(); }));
    }),
    'a stream that is cancelled': async () => {
      const own = session();
      const stream = own.request({ ':path': '/bytes/100000000' });
      stream.on('error', () => {});
      await require('events').once(stream, 'data');
      stream.close(http2.constants.NGHTTP2_CANCEL);
      equal((await ask(own, { ':path': '/echo' }))[0], 200);
      own.destroy();
    },
  };
};

(async () => {
  const suites = {
    'fetch': fetches(`http://localhost:${http}`), 'fetch TLS': fetches(`https://localhost:${https}`),
    'http2': streams(`http://localhost:${http}`), 'http2 TLS': streams(`https://localhost:${https}`),
  };
  for (const [suite, cases] of Object.entries(suites)) {
    for (const [name, work] of Object.entries(cases)) {
      try {
        await within(work());
        console.log(`ok ${suite}: ${name}`);
      } catch (error) {
        console.log(`FAILED ${suite} ${name}: ${error} ${error.cause || ''}`.replace(/\n/g, ' '));
      }
    }
  }
  process.exit(0);
})();

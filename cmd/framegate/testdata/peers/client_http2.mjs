// Node's own http2 client opens WebSockets by extended CONNECT (RFC 8441), all of them on one connection.
import http2 from 'node:http2';
import { once } from 'node:events';
import { check, done, equal, options } from './peer.mjs';

const session = http2.connect(options.url);
await once(session, 'remoteSettings');

// frame is a masked text frame, or a Close.
const frame = (first, payload) => {
  const key = Buffer.from([1, 2, 3, 4]);
  const masked = Buffer.from(payload.map((b, i) => b ^ key[i % 4]));
  return Buffer.concat([Buffer.from([first, 0x80 | payload.length]), key, masked]);
};

// exactly reads n bytes.
async function exactly(stream, n) {
  let data = Buffer.alloc(0);
  while (data.length < n) {
    const part = stream.read();
    if (part) data = Buffer.concat([data, part]);
    else await once(stream, 'readable');
  }
  return data;
}

await check('the server offers extended CONNECT', async () => {
  equal(session.remoteSettings.enableConnectProtocol, true, 'SETTINGS_ENABLE_CONNECT_PROTOCOL');
});

await check('WebSockets on one connection', async () => {
  await Promise.all(Array.from({ length: options.count }, async (_, i) => {
    const stream = session.request({
      ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/ws', ':authority': new URL(options.url).host,
      'sec-websocket-version': '13', 'sec-websocket-protocol': 'chat', origin: options.url,
    }, { endStream: false });
    const [headers] = await once(stream, 'response');
    equal([headers[':status'], headers['sec-websocket-protocol']], [200, 'chat'], 'answer');
    const text = Buffer.from(`number ${i}`);
    stream.write(frame(0x81, text));
    equal([...await exactly(stream, 2 + text.length)], [0x81, text.length, ...text], 'echo');
    stream.write(frame(0x88, Buffer.from([0x0f, 0xa0])));
    equal([...await exactly(stream, 4)], [0x88, 2, 0x0f, 0xa0], 'Close');
    stream.resume();
    await once(stream, 'end');
  }));
});

session.close();
done();

// undici's WebSocket, which inflates what the upstream has compressed: every size in text and binary, and closes of either side.
import { WebSocket } from 'undici';
import { check, done, equal, Inbox, options, payload, roundTrip } from './peer.mjs';

class Connection {
  inbox = new Inbox();

  constructor(path, protocols = []) {
    this.socket = new WebSocket(options.url + path, protocols);
    this.socket.binaryType = 'arraybuffer';
    this.opened = new Promise((resolve, reject) => {
      this.socket.addEventListener('open', resolve);
      this.socket.addEventListener('error', (event) => reject(event.error ?? new Error(event.message)));
    });
    this.closed = new Promise((resolve) => {
      this.socket.addEventListener('close', (event) => resolve([event.code, event.reason, event.wasClean]));
    });
    this.closed.then((event) => this.inbox.end(`closed with ${event}`));
    this.socket.addEventListener('message', ({ data }) => {
      const binary = typeof data !== 'string';
      this.inbox.push({ data: Buffer.from(data), binary });
    });
  }

  async send(data, binary) {
    this.socket.send(binary ? data : data.toString());
  }
}

for (const [path, sizes] of [['/echo', options.sizes], ['/echo?fragments=5&ping=1', options.fragmentedSizes]]) {
  const connection = new Connection(path);
  await check(`${path}: handshake`, async () => {
    await connection.opened;
    equal(connection.socket.extensions, options.deflate ? 'permessage-deflate' : '', 'extensions');
  });
  let count = 0;
  for (const size of sizes) {
    for (const binary of [false, true]) {
      await check(`${path}: ${size} bytes of ${binary ? 'binary' : 'text'}`, () =>
        roundTrip(connection, payload(size, binary), binary, count++));
    }
  }
  await check(`${path}: upstream's pings and Close`, async () => {
    connection.socket.send('!pongs');
    equal((await connection.inbox.next()).data.toString(), 'all pongs', 'answer');
    connection.socket.send('!close 4321 from the upstream: ü');
    equal(await connection.closed, [4321, 'from the upstream: ü', true], 'close');
  });
}

await check('client closes with 4321', async () => {
  const connection = new Connection('/echo', ['chat.v2', 'chat.v1']);
  await connection.opened;
  equal(connection.socket.protocol, 'chat.v2', 'subprotocol');
  connection.socket.close(4321, 'from the client');
  equal(await connection.closed, [4321, 'from the client', true], 'close');
});

await check('upstream ends without a Close', async () => {
  const connection = new Connection('/echo');
  await connection.opened;
  connection.socket.send('!terminate');
  equal((await connection.closed)[0], options.cutCode, 'close code');
});
done();

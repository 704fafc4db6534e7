// Sensors that send records of 12 bytes behind a version, in binary messages, to a service on `ws` which acknowledges now and then.
import { WebSocketServer } from 'ws';
import { check, closes, Connection, crowd, normal, serve, status, until } from './app.mjs';
import { done, equal } from './peer.mjs';

const received = []; // numbers of the first record of each message, in their order
let sockets;
await serve(null, (server) => {
  sockets = new WebSocketServer({ server });
});
sockets.on('connection', (socket) => {
  socket.on('message', (data, binary) => {
    received.push(binary ? data.readUInt32BE(4) : -1);
    if (received.length % 40 === 0) socket.send(`${received.length} received`);
  });
});

// measurements make a message of records, the first one with a number.
function measurements(number, records = 1) {
  const message = Buffer.alloc(4 + 12 * records, 0xff);
  message.writeUInt32LE(1, 0);
  message.writeUInt32BE(number, 4);
  return message;
}
const numbers = (n) => Array.from({ length: n }, (_, i) => i);

await check('measurements', async () => {
  const sensor = await new Connection([], {}).opened;
  sensor.send(...numbers(80).map((n) => measurements(n, 1 + n % 20)));
  equal([(await sensor.inbox.next()).data.toString(), (await sensor.inbox.next()).data.toString()], ['40 received', '80 received'], 'acknowledgements');
  equal(received.splice(0), numbers(80), 'messages in order');
  const pong = new Promise((resolve) => sensor.socket.once('pong', resolve));
  sensor.socket.ping('alive');
  equal((await pong).toString(), 'alive', 'pong');
  await sensor.close();
});
await normal();

// delayed checks that a sensor which sends too much has to wait, and loses nothing.
function delayed(name, count, records, least) {
  return check(name, async () => {
    received.length = 0;
    const sensor = await new Connection([], {}).opened;
    const start = performance.now();
    sensor.send(...numbers(count).map((n) => measurements(n, records)));
    await until('all of it', () => received.length === count);
    const took = performance.now() - start;
    if (took < least) throw new Error(`all of it after ${took} ms, want ${least} at least`);
    equal(received, numbers(count), 'messages in order');
    await sensor.close();
  });
}
await delayed('250 messages at once', 250, 1, 900); // 200 at once, 50 in a second
await delayed('288 KiB at once', 72, 341, 450); // 256 KiB at once, 64 KiB in a second

await check('records that are cut', async () => {
  received.length = 0;
  const sensor = await new Connection([], {}).opened;
  sensor.send(measurements(1), measurements(2).subarray(0, 15), Buffer.from([1, 0, 0, 0]), measurements(3));
  await until('the last', () => received.at(-1) === 3);
  equal(received, [1, 3], 'what is received');
  await sensor.close();
});

const given = { given: {} };
const version2 = measurements(0);
version2[0] = 2;
await closes('another version', 1008, 'message matches a deny pattern', (c) => c.send(version2), given);
await closes('text', 1003, 'text messages are not allowed', (c) => c.send('17.5'), given);
await closes('5 KiB', 1009, 'message is too big', (c) => c.send(measurements(0, 420)), given);
await closes('the service sends 2 KiB', 1011, 'peer sent too much', () => {
  for (const socket of sockets.clients) socket.send('x'.repeat(2 << 10));
}, given);
await closes('the service talks too much', 1011, 'refused by policy', () => {
  for (const socket of sockets.clients) for (let i = 0; i < 60; i++) socket.send('ok');
}, given);
await crowd('the 65th connection', 64, [], {});
await check('a plain request', async () => equal(await status(), 426, 'status'));
done();

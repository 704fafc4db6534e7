// A socket.io client that starts with HTTP polling and upgrades to a WebSocket while numbered messages go both ways.
import { io } from 'socket.io-client';
import { check, done, equal, options, payload, sha256 } from './peer.mjs';

function connect(transports) {
  const socket = io(options.url, { transports, forceNew: true, reconnection: false });
  const failed = new Promise((_, reject) => socket.on('connect_error', (err) => reject(err)));
  failed.catch(() => {});
  return { socket, connected: Promise.race([failed, new Promise((resolve) => socket.on('connect', resolve))]) };
}

async function echo(socket, data) {
  const back = await socket.emitWithAck('echo', data);
  const [want, got] = [sha256(data), sha256(back)];
  equal([typeof back === 'string', got], [typeof data === 'string', want], `echo of ${data.length}`);
}

const { socket, connected } = connect(['polling', 'websocket']);
const { engine } = socket.io;
const first = new Promise((resolve) => engine.once('open', () => resolve(engine.transport.name)));
const upgraded = new Promise((resolve) => engine.once('upgrade', resolve));

await check('numbers in order across the upgrade', async () => {
  equal(await first, 'polling', 'first transport');
  await connected;
  let back = 0;
  const all = new Promise((resolve, reject) => {
    socket.on('number', (n) => {
      if (n !== ++back) reject(new Error(`number ${n} came back as the ${back}th`));
      if (back === 400) resolve();
    });
  });
  let sent = 0;
  const some = () => { for (let i = 0; i < 40; i++) socket.emit('number', ++sent); };
  for (let i = 0; i < 5; i++) { // while the probe is under way
    some();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await upgraded;
  equal(engine.transport.name, 'websocket', 'transport after the upgrade');
  for (let i = 0; i < 5; i++) some();
  await all;
  equal(await socket.emitWithAck('transports'), ['polling', 'websocket'], "the server's transports");
});

for (const size of options.sizes) {
  await check(`${size} bytes over the WebSocket`, async () => {
    await echo(socket, payload(size, true));
    await echo(socket, payload(size, false).toString());
  });
}

await check('the server disconnects', async () => {
  const reason = new Promise((resolve) => socket.on('disconnect', resolve));
  socket.emit('leave');
  equal(await reason, 'io server disconnect', 'reason');
});

await check('polling alone', async () => {
  const { socket, connected } = connect(['polling']);
  await connected;
  for (const size of options.sizes.filter((size) => size <= 1 << 20)) {
    await echo(socket, payload(size, true));
    await echo(socket, payload(size, false).toString());
  }
  equal(await socket.emitWithAck('transports'), ['polling'], "the server's transports");
  socket.disconnect();
});

await check('WebSocket alone', async () => {
  const { socket, connected } = connect(['websocket']);
  await connected;
  await echo(socket, 'ü');
  socket.disconnect();
});
done();

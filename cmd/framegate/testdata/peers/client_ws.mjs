// The `ws` client: every size in text and binary, whole and in fragments with pings between them, and closes of either side.
import WebSocket from 'ws';
import { check, cut, done, equal, Inbox, options, payload, roundTrip } from './peer.mjs';

class Connection {
  inbox = new Inbox();
  pongs = new Inbox();
  #sent = 0;

  constructor(path, fragments = 1, protocols = []) {
    this.fragments = fragments;
    this.socket = new WebSocket(options.url + path, protocols, { perMessageDeflate: options.deflate ? { threshold: 0 } : false });
    this.opened = new Promise((resolve, reject) => this.socket.once('open', resolve).once('error', reject));
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => resolve([code, reason.toString()]));
    });
    this.closed.then(([code, reason]) => this.inbox.end(`closed with ${code} ${reason}`));
    this.socket.on('error', (err) => this.inbox.end(String(err)));
    this.socket.on('message', (data, binary) => this.inbox.push({ data, binary }));
    this.socket.on('pong', (data) => this.pongs.push(data.toString()));
  }

  // send writes the message in fragments, cut anywhere; inside of a text message it waits for a ping's pong before it goes on.
  async send(data, binary) {
    const parts = data[0] === 0x21 && !binary ? [data] : cut(data, this.fragments);
    for (let i = 0; i < parts.length; i++) {
      const last = i === parts.length - 1;
      await new Promise((resolve, reject) => {
        this.socket.send(parts[i], { binary, fin: last }, (err) => (err ? reject(err) : resolve()));
      });
      if (i === 0 && !last && !binary) {
        const mark = `client ${this.#sent++}`;
        this.socket.ping(mark);
        equal(await this.pongs.next(), mark, 'pong inside of a fragmented message');
      }
    }
  }
}

async function sizes(name, connection, list) {
  await check(`${name}: handshake`, async () => {
    await connection.opened;
    const extensions = options.deflate && !options.declined ? 'permessage-deflate' : '';
    equal(connection.socket.extensions, extensions, 'extensions');
  });
  let count = 0;
  for (const size of list) {
    for (const binary of [false, true]) {
      await check(`${name}: ${size} bytes of ${binary ? 'binary' : 'text'}`, () =>
        roundTrip(connection, payload(size, binary), binary, count++));
    }
  }
  return count;
}

const whole = new Connection('/echo');
let count = await sizes('whole', whole, options.sizes);

// With context takeover in both directions, 8 KiB of noise that came just before cost nearly nothing the second time. The figures are
// the upstream's, so they show what the gateway let through.
await check('whole: context takeover both ways', async () => {
  if (!options.deflate || options.declined) return;
  const noise = payload(8192, true);
  const once = await roundTrip(whole, noise, true, count++);
  const twice = await roundTrip(whole, noise, true, count++);
  const thrice = await roundTrip(whole, noise, true, count++);
  const [first, second] = [twice.read - once.read, thrice.read - twice.read];
  // The counts in an answer do not cover the answer itself, so each difference holds one repetition and one small message.
  if (first > 1024 || second > 1024) throw new Error(`client's repetition took ${first} and ${second} bytes`);
  const [out1, out2] = [twice.written - once.written, thrice.written - twice.written];
  if (!options.weakUpstream && (out1 > 1024 || out2 > 1024)) throw new Error(`upstream's repetition took ${out1} and ${out2} bytes`);
});

await check('client closes with 4321', async () => {
  whole.socket.close(4321, 'from the client');
  equal(await whole.closed, [4321, 'from the client'], 'close');
});

const fragmented = new Connection('/echo?fragments=5&ping=1', 5);
await sizes('fragmented', fragmented, options.fragmentedSizes);
await check('fragmented: every ping of the upstream got its pong', async () => {
  fragmented.socket.send('!pongs');
  equal((await fragmented.inbox.next()).data.toString(), 'all pongs', 'answer');
});
await check('upstream closes with 4321', async () => {
  fragmented.socket.send('!close 4321 from the upstream: ü');
  equal(await fragmented.closed, [4321, 'from the upstream: ü'], 'close');
});

await check('upstream ends without a Close', async () => {
  const cut = new Connection('/echo', 1, ['chat.v2', 'chat.v1']);
  await cut.opened;
  equal(cut.socket.protocol, 'chat.v2', 'subprotocol');
  cut.socket.send('!terminate');
  equal((await cut.closed)[0], options.cutCode, 'close code');
});

await check('both sides close with an empty Close', async () => {
  const empty = new Connection('/echo');
  await empty.opened;
  empty.socket.close();
  equal(await empty.closed, [1005, ''], 'close');
});
done();

// A chat on `ws` and its pages: JSON messages with a type, rooms, a search.
import { randomUUID } from 'node:crypto';
import { WebSocketServer } from 'ws';
import { check, closes, Connection, crowd, headers, normal, refused, serve, status } from './app.mjs';
import { done, equal } from './peer.mjs';

let sockets;
await serve(null, (server) => {
  sockets = new WebSocketServer({ server });
});
sockets.on('connection', (socket) => {
  socket.on('message', (data) => {
    const message = JSON.parse(data);
    switch (message.type) {
      case 'join':
        socket.room = message.room;
        return socket.send(JSON.stringify({ type: 'joined', room: message.room }));
      case 'search':
        return socket.send(JSON.stringify({ type: 'found', texts: said.filter((text) => text.includes(message.text)) }));
      case 'say':
        said.push(message.text);
    }
    for (const other of sockets.clients) if (other.room === message.room) other.send(data.toString());
  });
});
const said = [];

const join = { type: 'join', room: 'lobby' };
const say = (text) => ({ type: 'say', room: 'lobby', text, id: randomUUID() });

// User is a page of the chat.
class User extends Connection {
  static async join() {
    const user = await new User().opened;
    user.tell(join);
    equal(await user.hear(), { type: 'joined', room: 'lobby' }, 'answer');
    return user;
  }

  tell(...messages) {
    this.send(...messages.map((message) => JSON.stringify(message)));
  }

  async hear() {
    return JSON.parse((await this.inbox.next()).data);
  }
}

await check('a talk', async () => {
  const [ada, bob] = [await User.join(), await User.join()];
  const hello = say('Grüße 👋 an alle');
  ada.tell({ type: 'typing', room: 'lobby' }, hello);
  for (const user of [ada, bob]) equal([await user.hear(), await user.hear()], [{ type: 'typing', room: 'lobby' }, hello], 'talk');
  bob.tell({ type: 'search', text: 'Grüße' });
  equal(await bob.hear(), { type: 'found', texts: [hello.text] }, 'search');
  for (const user of [ada, bob]) await user.close();
});

await check('the application starts anew', async () => {
  const ada = await User.join();
  for (const socket of sockets.clients) socket.close(1012, 'back soon');
  equal(await ada.closed, [1012, 'back soon'], 'code and reason');
  await (await User.join()).close();
});
await normal();

await check('too much is said', async () => {
  const user = await User.join();
  const slow = { type: 'error', reason: 'slow down' };
  for (const [most, message] of [[10, say('again')], [2, { type: 'search', text: 'nothing' }], [2, { type: 'typing', room: 'lobby' }]]) {
    user.tell(...Array.from({ length: 12 }, () => message));
    let slowed = 0;
    for (let i = 0; i < 12; i++) slowed += (await user.hear()).type === slow.type;
    if (slowed === 0 || slowed > 12 - most) throw new Error(`${slowed} of 12 ${message.type}: ${slow.reason}`);
  }
  await user.close();
});

await check('a script', async () => {
  const user = await User.join();
  const last = say('the end');
  user.tell(say('<SCRIPT>alert(1)</SCRIPT>'), say('<b>'), last);
  equal([(await user.hear()).text, await user.hear()], ['<b>', last], 'what the room hears');
  await user.close();
});

const send = (message) => (c) => c.send(typeof message === 'object' && !Buffer.isBuffer(message) ? JSON.stringify(message) : message);
await closes('an operation that is not known', 1008, 'operation not allowed', send({ type: 'kick', room: 'lobby' }));
await closes('a member that no page sends', 1008, 'message does not match its schema', send({ ...join, as: 'admin' }));
await closes('a text too long', 1008, 'message does not match its schema', send(say('x'.repeat(2001))));
await closes('a name twice', 1008, 'message is not strict JSON', send('{"type":"join","type":"kick","room":"lobby"}'));
await closes('a binary message', 1003, 'binary messages are not allowed', send(Buffer.from(JSON.stringify(join))));
await closes('9 KiB', 1009, 'message is too big', send(say('x'.repeat(9 << 10))));
await closes('a flood', 1008, 'too many messages', (c) => c.send(...Array.from({ length: 120 }, () => JSON.stringify(join))));

const misbehave = (message) => async (c) => {
  await c.opened;
  for (const socket of sockets.clients) socket.send(message);
};
await closes('the application sends a binary message', 1011, 'peer sent a type that is not allowed', misbehave(Buffer.from('{}')));
await closes('the application sends 65 KiB', 1011, 'peer sent too much', misbehave('x'.repeat(65 << 10)));

await refused('a page of another site', 403, [], { Origin: 'https://evil.example' });
await refused('a program', 403, [], {});
await crowd('the 17th connection', 16, [], headers);
await check('a plain request', async () => equal(await status(), 426, 'status'));
done();

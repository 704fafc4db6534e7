// A game with socket.io on both sides, over WebSocket alone: events with and without acknowledgement, snapshots as binary attachments.
import { Server } from 'socket.io';
import { io } from 'socket.io-client';
import { check, crowd, headers, normal, refused, serve, status, until } from './app.mjs';
import { done, equal, options, within } from './peer.mjs';

const events = []; // [name, argument] that have reached the game
const heartbeat = 200; // milliseconds
let game;
await serve(null, (server) => {
  game = new Server(server, { transports: ['websocket'], pingInterval: heartbeat, pingTimeout: 20_000, maxHttpBufferSize: 1e6 });
});
const arena = game.of('/arena');
arena.on('connection', (socket) => {
  socket.onAny((name, argument) => events.push([name, argument]));
  socket.on('join', (answer) => {
    socket.join('players');
    answer?.({ players: arena.sockets.size });
  });
  socket.on('move', (step) => arena.to('players').emit('moved', step));
  socket.on('shoot', () => socket.emit('snapshot', Buffer.alloc(1000, 7), { tick: 1 }));
  socket.on('say', (text, answer) => answer?.(`said ${text}`));
});
game.on('connection', (socket) => socket.onAny((name) => events.push(['outside the arena', name])));

const url = new URL(options.url);

// play connects a player, who comes back after an end if again is true.
async function play(again = false, namespace = '/arena') {
  const socket = io(`https://${url.host}${namespace}`, {
    transports: ['websocket'], extraHeaders: headers, forceNew: true, reconnection: again, reconnectionDelay: 50, reconnectionDelayMax: 100,
  });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  return socket;
}

// ended resolves with the reason that the library has for the end of a connection, and with code and reason of the WebSocket's Close.
function ended(socket) {
  return within(20_000, 'the end', new Promise((resolve) => {
    socket.on('disconnect', (reason, details) => resolve([reason, details?.context?.code, details?.context?.reason]));
  }));
}

const event = (socket, name) => new Promise((resolve) => socket.once(name, (...args) => resolve(args)));

await check('a game', async () => {
  const [ada, bob] = [await play(), await play()];
  equal(await ada.emitWithAck('join'), { players: 2 }, 'acknowledgement');
  await bob.emitWithAck('join');
  const seen = [];
  bob.on('moved', (step) => seen.push(step.tick));
  for (let tick = 1; tick <= 50; tick++) ada.emit('move', { x: Math.sin(tick), y: -1, tick });
  await until('the moves', () => seen.length === 50);
  equal(seen, Array.from({ length: 50 }, (_, i) => i + 1), 'moves in order');
  const snapshot = event(ada, 'snapshot');
  ada.emit('shoot');
  const [bytes, { tick }] = await snapshot;
  equal([bytes.length, bytes[999], tick], [1000, 7, 1], 'binary snapshot');
  equal(await bob.emitWithAck('say', 'gg 👏'), 'said gg 👏', 'acknowledgement');
  let beats = 0;
  bob.io.engine.on('heartbeat', () => beats++);
  await until('heartbeats', () => beats >= 2);
  for (const player of [ada, bob]) player.disconnect();
});

await check('the game is gone for a moment', async () => {
  const ada = await play(true);
  const end = ended(ada), back = event(ada, 'connect');
  for (const { transport } of Object.values(game.engine.clients)) transport.socket.terminate();
  equal(await end, ['transport close', 1011, 'upstream is gone'], 'end');
  await within(10_000, 'reconnect', back);
  await ada.emitWithAck('join');
  ada.disconnect();
});
await normal();

await check('more than a player can do is dropped', async () => {
  const ada = await play();
  await ada.emitWithAck('join');
  for (const [name, argument, sent, most] of [['move', { x: 0, y: 0 }, 120, 90], ['shoot', null, 20, 10], ['say', 'hi', 6, 3]]) {
    events.length = 0;
    for (let i = 0; i < sent; i++) ada.emit(name, ...(argument === null ? [] : [argument]));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await ada.emitWithAck('join'); // which is behind them
    const got = events.filter(([event]) => event === name).length;
    if (got < most || got >= sent) throw new Error(`${got} of ${sent} times ${name}`);
    if (name === 'move') await new Promise((resolve) => setTimeout(resolve, 1000)); // for the rate of all messages
  }
  equal(ada.connected, true, 'connected');
  ada.disconnect();
});

// cheats checks with what a player is shown the door.
function cheats(name, code, reason, act) {
  return check(name, async () => {
    const player = await play();
    const end = ended(player);
    events.length = 0;
    act(player);
    equal(await end, ['transport close', code, reason], 'end');
    equal(events, [], 'what the game has seen of it');
  });
}
await cheats('an event that is not known', 1008, 'operation not allowed', (p) => p.emit('teleport', { x: 5, y: 0 }));
await cheats('a step too long', 1008, 'message does not match its schema', (p) => p.emit('move', { x: 5, y: 0 }));
await cheats('a member too many', 1008, 'message does not match its schema', (p) => p.emit('move', { x: 0, y: 0, speed: 9 }));
await cheats('too much to say', 1008, 'message does not match its schema', (p) => p.emit('say', 'x'.repeat(201)));
await cheats('nested too deep', 1008, 'JSON nested too deep', (p) => p.emit('shoot', [[[[[[[0]]]]]]]));
await cheats('5 KiB', 1009, 'message is too big', (p) => p.emit('shoot', 'x'.repeat(5 << 10)));
await check('a flood', async () => {
  const player = await play();
  const end = ended(player);
  for (let i = 0; i < 400; i++) player.emit('join'); // of which no limit of its own drops any
  equal(await end, ['transport close', 1008, 'too many messages'], 'end');
});
await check('an attachment', async () => {
  const player = await play();
  const end = ended(player);
  player.emit('shoot', Buffer.from('at me'));
  const [, code] = await end;
  equal(code, 1003, 'code');
});
await check('outside the arena', async () => {
  const player = await play(false, '/');
  const end = ended(player);
  player.emit('move', { x: 0, y: 0 });
  equal(await end, ['transport close', 1008, 'operation not allowed'], 'end');
});
await check('the game sends 257 KiB', async () => {
  const player = await play();
  const end = ended(player);
  arena.emit('map', 'x'.repeat(257 << 10));
  equal(await end, ['transport close', 1011, 'peer sent too much'], 'end');
});

await check('long polling, which would go around the rules', async () => {
  equal(await status({ method: 'GET' }), 426, 'status');
  const socket = io(`https://${url.host}/arena`, { transports: ['polling'], extraHeaders: headers, forceNew: true, reconnection: false });
  const err = await event(socket, 'connect_error');
  equal([err[0].message, err[0].description], ['xhr poll error', 426], 'error');
});
const place = `${options.url}?EIO=4&transport=websocket`;
await refused('a page of another site', 403, [], { Origin: 'https://evil.example' }, place);
await refused('a program', 403, [], {}, place);
await crowd('the 9th connection', 8, [], headers, place);
done();

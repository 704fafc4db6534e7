// socket.io clients with cookies, as browsers have them, of which each must stay at one of several servers: by polling, across the upgrade, and in
// a second session of the same browser. Without stickiness (options.lost) a session by polling is lost, since no other server knows it.
import { io } from 'socket.io-client';
import { check, done, emit, equal, nextLine, options } from './peer.mjs';

// A browser keeps its cookies over its sessions; socket.io's client keeps them for one.
class Browser {
  cookies = '';

  connect(transports, reconnection = false) {
    const socket = io(options.url, {
      transports, forceNew: true, reconnection, reconnectionDelay: 50, reconnectionDelayMax: 200, withCredentials: true, extraHeaders: this.cookies ? { cookie: this.cookies } : {},
    });
    const failed = new Promise((_, reject) => socket.once('connect_error', (err) => reject(err)));
    failed.catch(() => {});
    const connected = Promise.race([failed, new Promise((resolve) => socket.once('connect', resolve))]);
    return { socket, connected };
  }

  // learn takes the gateway's cookie out of a plain answer.
  async learn() {
    const answer = await fetch(`${options.url}/name`, { headers: this.cookies ? { cookie: this.cookies } : {} });
    const given = answer.headers.getSetCookie();
    if (given.length) this.cookies = given[0].split(';')[0];
    return { name: await answer.text(), given: given.length };
  }
}

async function names(socket, n) {
  const seen = new Set();
  for (let i = 0; i < n; i++) seen.add(await socket.emitWithAck('name'));
  return [...seen];
}

if (options.lost) {
  await check('a session by polling is lost without stickiness', async () => {
    let lost = 0;
    for (let i = 0; i < 4; i++) {
      const { socket, connected } = new Browser().connect(['polling']);
      const gone = new Promise((resolve) => socket.on('disconnect', resolve));
      try {
        await connected;
        await Promise.race([names(socket, 20), gone.then(() => { throw new Error('disconnected'); })]);
      } catch { lost++; }
      socket.disconnect();
    }
    equal(lost, 4, 'sessions lost');
  });
  done();
}

const used = new Set();
await check('sessions by polling stay at their servers', async () => {
  const all = Array.from({ length: 9 }, () => new Browser().connect(['polling']));
  for (const { socket, connected } of all) {
    await connected;
    const seen = await names(socket, 10);
    equal(seen.length, 1, 'servers of one session');
    used.add(seen[0]);
    socket.disconnect();
  }
  equal([...used].sort(), ['one', 'three', 'two'], 'servers of all sessions');
});

await check('sessions stay across the upgrade', async () => {
  for (let i = 0; i < 6; i++) {
    const { socket, connected } = new Browser().connect(['polling', 'websocket']);
    const upgraded = new Promise((resolve) => socket.io.engine.once('upgrade', resolve));
    await connected;
    const before = await names(socket, 2);
    await upgraded;
    equal(await names(socket, 3), before, 'server after the upgrade');
    socket.disconnect();
  }
});

await check('a browser stays with its pages and all its sessions', async () => {
  for (let i = 0; i < 3; i++) {
    const browser = new Browser();
    const first = await browser.learn();
    equal(first.given, 1, 'cookies of the first answer');
    equal(await browser.learn(), { name: first.name, given: 0 }, 'the second answer');
    for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
      const { socket, connected } = browser.connect(transports);
      await connected;
      equal(await names(socket, 3), [first.name], `server by ${transports}`);
      socket.disconnect();
    }
  }
});

await check('a server that ends hands its sessions on, and no others', async () => {
  const sessions = [];
  for (let i = 0; i < 9; i++) {
    const { socket, connected } = new Browser().connect(['polling', 'websocket'], true);
    await connected;
    const [name] = await names(socket, 1);
    const session = { socket, name, lost: 0 };
    socket.on('disconnect', () => session.lost++);
    sessions.push(session);
  }
  const waiting = sessions.filter((s) => s.name === 'one').map((s) => new Promise((resolve) => s.socket.io.once('reconnect', resolve)));
  equal(waiting.length, 3, 'sessions of the server that ends');
  emit({ event: 'ready' });
  await nextLine();
  await Promise.all(waiting);
  for (const s of sessions) {
    const seen = await names(s.socket, 3);
    equal([seen.length, seen.includes('one'), s.lost], [1, false, s.name === 'one' ? 1 : 0], `servers after the end, of a session of ${s.name}`);
    if (s.name !== 'one') equal(seen, [s.name], 'server of a session that was not concerned');
    s.socket.disconnect();
  }
});
done();

// What the scripts of applications share. Each runs a real application, which listens on a Unix socket behind the gateway, and its users
// on the other side: first what the application is for, then an attempt at everything that its policy forbids.
import dns from 'node:dns';
import { createServer, get } from 'node:http';
import { text } from 'node:stream/consumers';
import WebSocket from 'ws';
import { check as plainCheck, emit, equal, Inbox, nextLine, options, within } from './peer.mjs';

// Names below localhost are this machine (RFC 6761, section 6.3), which not every resolver knows.
const { lookup } = dns;
dns.lookup = (name, ...rest) => lookup(name.endsWith('.localhost') ? '127.0.0.1' : name, ...rest);

// headers are those of a page of the application.
export const headers = { Origin: options.origin };

// standing is the number of connections that stay between checks.
export const standing = { connections: 0 };

// settled waits until the gateway has given back the places of the connections that are over: it does so a moment after their clients have seen the end.
export async function settled() {
  await until('the places', async () => {
    const answer = await new Promise((resolve, reject) => get(`http://${options.admin}/metrics`, resolve).on('error', reject)); // fetch says that it is a page
    equal(answer.statusCode, 200, 'status of the metrics');
    const series = await text(answer);
    const live = [...series.matchAll(/^framegate_connections\{.*\} (\d+)$/gm)].map(([, n]) => Number(n));
    return live.reduce((a, b) => a + b, 0) <= standing.connections;
  });
}

// check runs one named check, which has all places to itself but those of standing connections.
export function check(name, run) {
  return plainCheck(name, async () => {
    await settled();
    await run();
  });
}

// serve makes the HTTP server of an application and has it listen when what handles its requests is in place.
export async function serve(handle, attach) {
  const server = createServer(handle);
  attach(server);
  await new Promise((resolve) => server.listen(options.socket, resolve));
  return server;
}

// Connection is one of the library ws, for what an application's own client would never send.
export class Connection {
  inbox = new Inbox();

  constructor(protocols = [], given = headers, url = options.url) {
    this.socket = new WebSocket(url, protocols, { headers: given });
    this.socket.on('message', (data, binary) => this.inbox.push({ data, binary }));
    this.closed = new Promise((resolve) => this.socket.on('close', (code, reason) => resolve([code, reason.toString()])));
    this.closed.then((end) => this.inbox.end(`closed with ${end}`));
    this.opened = new Promise((resolve, reject) => this.socket.on('open', () => resolve(this)).on('error', reject));
    this.opened.catch(() => {});
  }

  send(...messages) {
    for (const message of messages) this.socket.send(message);
  }

  async close() {
    await this.opened;
    this.socket.close();
    await this.closed;
  }
}

// normal tells the Go test that the application has been used as it is meant, and waits until that has seen that no rule minded.
export async function normal() {
  emit({ event: 'normal' });
  await within(30_000, 'the Go test', nextLine());
}

// refused checks that the gateway answers a handshake with a status.
export function refused(name, status, ...connection) {
  return check(name, async () => {
    const error = await new Connection(...connection).opened.then(() => 'none', (err) => err.message);
    equal(error, `Unexpected server response: ${status}`, 'error');
  });
}

// crowd checks that of so many connections at once each is admitted and the next one is refused with 429.
export function crowd(name, size, ...connection) {
  return check(name, async () => {
    const all = Array.from({ length: size }, () => new Connection(...connection));
    await Promise.all(all.map((c) => c.opened));
    const error = await new Connection(...connection).opened.then(() => 'none', (err) => err.message);
    equal(error, 'Unexpected server response: 429', 'error of the one too many');
    await Promise.all(all.map((c) => c.close()));
  });
}

// closes checks with which code and reason the gateway ends a connection on which something is done. begin is what comes before that.
export function closes(name, code, reason, act, { protocols = [], given = headers, begin = async () => {} } = {}) {
  return check(name, async () => {
    const connection = await new Connection(protocols, given).opened;
    await begin(connection);
    await act(connection);
    equal(await within(20_000, 'the end', connection.closed), [code, reason], 'code and reason');
  });
}

// status is that of the answer to a plain request at the place of the WebSocket.
export async function status(init = {}) {
  const answer = await fetch(options.url.replace(/^ws/, 'http'), { headers, ...init });
  await answer.arrayBuffer();
  return answer.status;
}

// until waits for a condition of this process.
export async function until(what, condition) {
  const wait = async () => {
    while (!await condition()) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  await within(20_000, what, wait());
}

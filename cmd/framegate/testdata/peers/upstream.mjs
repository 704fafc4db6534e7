// A web page and an echo server on `ws`, behind the gateway. Every message is sent back with its type, in ?fragments=N fragments; with
// ?ping=1 a ping travels inside of every fragmented binary message. A text message that starts with `!` is a command:
//   !last                what has been received: count, type, length and SHA-256 of the last message, bytes read and written
//   !pongs               an answer when every ping of this side has had its pong
//   !close CODE REASON   the upstream closes the connection
//   !terminate           the upstream's TCP connection ends without a Close
import fs from 'node:fs';
import http from 'node:http';
import { WebSocketServer } from 'ws';
import { cut, emit, options, sha256 } from './peer.mjs';

const page = fs.readFileSync(new URL('page.html', import.meta.url));
let eventStreams = [];

const server = http.createServer((request, response) => {
  switch (new URL(request.url, 'http://upstream').pathname) {
    case '/':
      response.setHeader('Content-Type', 'text/html; charset=utf-8');
      return response.end(page);
    case '/favicon.ico':
      response.statusCode = 204;
      return response.end();
    case '/headers':
      return response.end(JSON.stringify(request.headers));
    case '/events': // a stream whose second event waits for a request to /events/next: buffering would deadlock it
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      response.write('data: first\n\n');
      return eventStreams.push(response);
    case '/events/next':
      for (const stream of eventStreams) stream.end('data: second\n\n');
      eventStreams = [];
      return response.end('sent');
    default:
      response.statusCode = 404;
      return response.end('no such page');
  }
});

const deflate = options.deflate ? { threshold: 0 } : false;
const sockets = new WebSocketServer({ server, perMessageDeflate: deflate, handleProtocols: (offered) => [...offered][0] });
sockets.on('connection', (socket, request) => {
  const query = new URL(request.url, 'http://upstream').searchParams;
  const connection = new Connection(socket, Number(query.get('fragments') ?? 1), query.has('ping'));
  emit({ event: 'open', extensions: socket.extensions, protocol: socket.protocol, origin: request.headers.origin ?? null });
  socket.on('message', (data, binary) => connection.message(data, binary));
  socket.on('pong', (data) => connection.pong(data));
  socket.on('error', (err) => emit({ event: 'error', error: String(err) }));
  socket.on('close', (code, reason) => emit({ event: 'close', code, reason: reason.toString() }));
});

class Connection {
  count = 0;
  last = { binary: false, data: Buffer.alloc(0) };
  pings = [];
  pongWaiter = null;

  constructor(socket, fragments, ping) {
    Object.assign(this, { socket, fragments, ping });
  }

  message(data, binary) {
    if (!binary && data[0] === 0x21 /* ! */) return this.command(data.toString());
    this.count++;
    this.last = { binary, data };
    const parts = cut(data, this.fragments);
    parts.forEach((part, i) => {
      this.socket.send(part, { binary, fin: i === parts.length - 1 });
      if (this.ping && binary && i === 0 && parts.length > 1) {
        const mark = `upstream ${this.count}`;
        this.pings.push(mark);
        this.socket.ping(mark);
      }
    });
  }

  pong(data) {
    if (this.pings[0] !== data.toString()) emit({ event: 'error', error: `pong ${data}, want ${this.pings[0]}` });
    this.pings.shift();
    if (this.pings.length === 0) this.pongWaiter?.();
  }

  command(text) {
    const [name, code, ...reason] = text.split(' ');
    const { _socket: tcp } = this.socket;
    switch (name) {
      case '!last':
        return this.socket.send(JSON.stringify({
          count: this.count, binary: this.last.binary, length: this.last.data.length, sha256: sha256(this.last.data),
          read: tcp.bytesRead, written: tcp.bytesWritten,
        }));
      case '!pongs': {
        const answer = () => this.socket.send('all pongs');
        return this.pings.length === 0 ? answer() : (this.pongWaiter = answer);
      }
      case '!close':
        return this.socket.close(Number(code), reason.join(' '));
      case '!terminate':
        return this.socket.terminate();
      default:
        return this.socket.close(4400, `unknown command ${name}`);
    }
  }
}

server.listen(options.port ?? 0, '127.0.0.1', () => emit({ event: 'listening', port: server.address().port }));

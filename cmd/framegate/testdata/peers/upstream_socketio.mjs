// A socket.io server: it echoes, numbers what it sends by itself, counts what arrives, and tells its name, over plain HTTP too.
import http from 'node:http';
import { Server } from 'socket.io';
import { emit, options } from './peer.mjs';

const server = http.createServer((request, answer) => {
  if (request.url === '/name') answer.end(options.name);
});
const io = new Server(server, { maxHttpBufferSize: 20e6, perMessageDeflate: options.deflate ? { threshold: 0 } : false });

io.on('connection', (socket) => {
  const transports = [socket.conn.transport.name];
  socket.conn.on('upgrade', (transport) => transports.push(transport.name));
  let numbers = 0;
  socket.on('number', (n) => {
    if (n !== ++numbers) emit({ event: 'error', error: `number ${n} arrived as the ${numbers}th` });
    socket.emit('number', n); // goes back by whichever transport is in use
  });
  socket.on('echo', (data, answer) => answer(data));
  socket.on('transports', (answer) => answer(transports));
  socket.on('name', (answer) => answer(options.name));
  socket.on('leave', () => socket.disconnect(true));
});

server.listen(0, '127.0.0.1', () => emit({ event: 'listening', port: server.address().port }));

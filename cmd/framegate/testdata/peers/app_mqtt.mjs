// An MQTT broker, aedes, on `ws`, and devices with the client mqtt. What a device may do depends on the name in its token.
import { Aedes } from 'aedes';
import mqtt from 'mqtt';
import WebSocket, { createWebSocketStream, WebSocketServer } from 'ws';
import { check, closes, Connection, normal, refused, serve, status, until } from './app.mjs';
import { done, equal, options, within } from './peer.mjs';

const broker = await Aedes.createBroker();
let sockets;
await serve(null, (server) => {
  sockets = new WebSocketServer({ server, handleProtocols: (offered) => [...offered][0] });
});
sockets.on('connection', (socket, request) => {
  const stream = createWebSocketStream(socket);
  stream.on('error', () => {});
  broker.handle(stream, request);
});
broker.on('clientError', () => {});
broker.on('connectionError', () => {});
const published = []; // [topic, length] of what devices have said to the broker
broker.on('publish', (packet, client) => client && published.push([packet.topic, packet.payload.length]));

// Device is a client of mqtt with the token of its name. ends are code and reason of each of its connections that has ended.
class Device {
  ends = [];

  static async connect(name, more = {}) {
    const device = new Device();
    device.client = await mqtt.connectAsync(options.url, {
      clientId: `${name}-${Math.random().toString(36).slice(2, 8)}`, reconnectPeriod: 0, ...more,
      createWebsocket: (url, protocols) => {
        const socket = new WebSocket(url, protocols, { headers: { Authorization: `Bearer ${options.tokens[name]}` } });
        socket.on('close', (code, reason) => device.ends.push([code, reason.toString()]));
        socket.on('error', () => {});
        return socket;
      },
    }, false);
    device.client.on('error', () => {});
    device.messages = [];
    device.client.on('message', (topic, payload) => device.messages.push([topic, payload]));
    return device;
  }

  async ended() {
    await until('the end', () => this.ends.length > 0);
    return this.ends.shift();
  }
}

for (const [protocolVersion, protocolId] of [[3, 'MQIsdp'], [4, 'MQTT']]) { // those that aedes speaks
  await check(`a pump, ${protocolId} ${protocolVersion}`, async () => {
    const pump = await Device.connect('pump-7', { protocolVersion, protocolId, keepalive: 1 });
    await pump.client.subscribeAsync('devices/pump-7/commands', { qos: 1 });
    for (const qos of [0, 1, 2]) await pump.client.publishAsync('devices/pump-7/temp', `2${qos}.5`, { qos });
    await pump.client.publishAsync('devices/pump-7/image', Buffer.alloc(30_000, 1), { qos: 1 });
    await until('what it says', () => published.length === 4);
    equal(published.splice(0), [['devices/pump-7/temp', 4], ['devices/pump-7/temp', 4], ['devices/pump-7/temp', 4], ['devices/pump-7/image', 30_000]], 'published');
    broker.publish({ topic: 'devices/pump-7/commands', payload: Buffer.alloc(20_000, 2), qos: 1 }, () => {});
    await until('a command', () => pump.messages.length === 1);
    equal([pump.messages[0][0], pump.messages[0][1].length], ['devices/pump-7/commands', 20_000], 'command');
    await new Promise((resolve) => pump.client.on('packetreceive', ({ cmd }) => cmd === 'pingresp' && resolve())); // it is kept alive
    await pump.client.unsubscribeAsync('devices/pump-7/commands');
    await pump.client.endAsync();
  });
}

await check('the broker is gone for a moment', async () => {
  const pump = await Device.connect('pump-7', { reconnectPeriod: 50 });
  await pump.client.subscribeAsync('devices/pump-7/commands');
  const back = new Promise((resolve) => pump.client.once('connect', resolve));
  for (const socket of sockets.clients) socket.terminate();
  equal(await pump.ended(), [1011, 'upstream is gone'], 'end');
  await within(10_000, 'reconnect', back);
  await until('a command, for it has subscribed anew', () => {
    broker.publish({ topic: 'devices/pump-7/commands', payload: 'stop' }, () => {});
    return pump.messages.length > 0;
  });
  await pump.client.endAsync();
});
await normal();
published.length = 0;

// forbidden checks how the broker's connection of a device ends when it does something.
function forbidden(name, code, reason, act) {
  return check(name, async () => {
    const pump = await Device.connect('pump-7');
    act(pump.client);
    equal(await pump.ended(), [code, reason], 'end');
    pump.client.end(true);
  });
}
const command = ['devices/pump-8/commands', 'stop'];
await forbidden('to publish as another device', 1008, 'condition not met', (c) => c.publish('devices/pump-8/temp', '20'));
await forbidden('to give a command', 1008, 'condition not met', (c) => c.publish(...command));
await forbidden('to publish elsewhere', 1008, 'operation not allowed', (c) => c.publish('admin', 'x'));
await forbidden("to hear another device's commands", 1008, 'condition not met', (c) => c.subscribe(command[0]));
await forbidden('to hear all devices', 1008, 'condition not met', (c) => c.subscribe('devices/+/commands'));
await forbidden('to hear everything', 1008, 'operation not allowed', (c) => c.subscribe('#'));
await forbidden('70 KB at once', 1009, 'message is too big', (c) => c.publish('devices/pump-7/image', Buffer.alloc(70_000)));
await forbidden('more bytes than the rate', 1008, 'too many bytes', (c) => {
  for (let i = 0; i < 10; i++) c.publish('devices/pump-7/image', Buffer.alloc(60_000));
});
await forbidden('messages in a flood', 1008, 'operation rate exceeded', (c) => {
  for (let i = 0; i < 200; i++) c.publish('devices/pump-7/temp', '20');
});
await forbidden('subscriptions in a flood', 1008, 'operation rate exceeded', (c) => {
  for (let i = 0; i < 20; i++) c.subscribe('devices/pump-7/commands');
});
await check('what reached the broker', async () => {
  equal([...new Set(published.map(([topic]) => topic))].sort(), ['devices/pump-7/image', 'devices/pump-7/temp'], 'topics');
});

const given = { Authorization: `Bearer ${options.tokens['pump-7']}` };
const hello = Buffer.from('100e00044d5154540402003c00026964', 'hex'); // CONNECT of the client "id"
await closes('to connect twice', 1008, 'operation rate exceeded', (c) => c.send(hello, hello), { protocols: ['mqtt'], given });
await closes('text', 1003, 'text messages are not allowed', (c) => c.send('hello'), { protocols: ['mqtt'], given });
await closes('what is no MQTT', 1008, 'message is malformed', (c) => c.send(Buffer.from([0, 0])), { protocols: ['mqtt'], given });
await closes('the broker sends text', 1011, 'peer sent a type that is not allowed', () => {
  for (const socket of sockets.clients) socket.send('hello');
}, { protocols: ['mqtt'], given });
await closes('the broker sends 65 KiB', 1011, 'peer sent too much', () => {
  for (const socket of sockets.clients) socket.send(Buffer.alloc(65 << 10));
}, { protocols: ['mqtt'], given });

await refused('no token', 401, ['mqtt'], {});
await refused('a token for another service', 401, ['mqtt'], { Authorization: `Bearer ${options.tokens.other}` });
await refused('another protocol', 400, ['stomp'], given);
await refused('no protocol', 400, [], given);
await check('the third connection of a device', async () => {
  const two = [new Connection(['mqtt'], given), new Connection(['mqtt'], given)];
  await Promise.all(two.map((c) => c.opened));
  equal(await new Connection(['mqtt'], given).opened.then(() => 'none', (err) => err.message), 'Unexpected server response: 429', 'error');
  const pump8 = await Device.connect('pump-8'); // another device is not bothered
  await pump8.client.publishAsync('devices/pump-8/temp', '20', { qos: 1 });
  await pump8.client.endAsync();
  await Promise.all(two.map((c) => c.close()));
});
await check('a plain request', async () => equal(await status({ headers: given }), 426, 'status'));
done();

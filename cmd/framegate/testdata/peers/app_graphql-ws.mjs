// A GraphQL service with graphql-ws on both sides: queries and subscriptions over the WebSocket, queries over HTTP.
import { buildSchema, graphql } from 'graphql';
import { createClient } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import WebSocket, { WebSocketServer } from 'ws';
import { check, closes, crowd, headers, normal, refused, serve, status } from './app.mjs';
import { done, equal, options, within } from './peer.mjs';

const schema = buildSchema(`
  type Query { hello(name: String): String, large: String }
  type Subscription { count(to: Int!): Int, news: String }
`);
let publish = () => {};
const roots = {
  hello: ({ name }) => `Hello ${name}`,
  large: () => 'x'.repeat(2 << 20),
  async *count({ to }) {
    for (let i = 1; i <= to; i++) yield { count: i };
  },
  async *news() {
    for (;;) yield { news: await new Promise((resolve) => { publish = resolve; }) };
  },
};
let sockets;
await serve(async (request, response) => {
  let body = '';
  for await (const part of request) body += part;
  response.end(JSON.stringify(await graphql({ schema, rootValue: roots, source: JSON.parse(body).query })));
}, (server) => {
  sockets = new WebSocketServer({ server });
  useServer({ schema, roots: { query: roots, subscription: roots } }, sockets);
});

const protocols = ['graphql-transport-ws'];
const ends = []; // [code, reason] of the client's connections

// client is that of a page.
function client() {
  class PageSocket extends WebSocket {
    constructor(url, protocols) { super(url, protocols, { headers }); }
  }
  return createClient({
    url: options.url, webSocketImpl: PageSocket, keepAlive: 100, retryAttempts: 3, retryWait: async () => {},
    on: { closed: ({ code, reason }) => ends.push([code, reason]) },
  });
}

// first resolves with the first result of an operation; a connection that ends for good rejects with its code and reason.
async function first(client, operation) {
  try {
    for await (const result of client.iterate(operation)) return result.data;
  } catch (err) {
    throw err.code ? new Error(`${err.code} ${err.reason}`) : err;
  }
}

const hello = { operationName: 'Hello', query: 'query Hello($name: String) { hello(name: $name) }', variables: { name: 'you' } };
const news = { operationName: 'News', query: 'subscription News { news }' };

await check('queries and subscriptions', async () => {
  const page = client();
  equal(await first(page, hello), { hello: 'Hello you' }, 'query');
  const counted = [];
  for await (const { data } of page.iterate({ operationName: 'Count', query: 'subscription Count { count(to: 100) }' })) counted.push(data.count);
  equal(counted, Array.from({ length: 100 }, (_, i) => i + 1), 'subscription');
  const given = first(page, news); // which is given up after the first
  while (await Promise.race([given.then(() => false), new Promise((resolve) => setTimeout(resolve, 20, true))])) publish('extra');
  equal(await given, { news: 'extra' }, 'subscription without end');
  await page.dispose();
});

await check('the service is gone for a moment', async () => {
  const page = client();
  const heard = first(page, news);
  const before = publish;
  await within(5000, 'subscription', (async () => { while (publish === before) await new Promise((resolve) => setTimeout(resolve, 5)); })());
  for (const socket of sockets.clients) socket.terminate();
  const again = publish;
  await within(5000, 'subscription anew', (async () => { while (publish === again) await new Promise((resolve) => setTimeout(resolve, 5)); })());
  publish('back');
  equal(await heard, { news: 'back' }, 'the client subscribes anew');
  equal(ends.at(-1), [1012, 'upstream is gone'], 'what the client was told');
  await page.dispose();
});

await check('a query over HTTP', async () => {
  const answer = await fetch(options.url.replace(/^ws/, 'http'), { method: 'POST', body: JSON.stringify({ query: '{ hello(name: "you") }' }) });
  equal([answer.status, await answer.json()], [200, { data: { hello: 'Hello you' } }], 'answer');
});
await normal();

// forbidden checks how an operation ends that the gateway does not let pass: the client takes 1008 and 1011 for the end.
function forbidden(name, want, operation) {
  return check(name, async () => {
    const page = client();
    equal(await first(page, operation).then(JSON.stringify, (err) => err.message), want, 'error');
    await page.dispose();
  });
}
await forbidden('a query for the schema', '1008 message matches a deny pattern', { ...hello, query: 'query Hello { __schema { types { name } } }' });
await forbidden('a query without name', '1008 operation not allowed', { query: '{ hello }' });
await forbidden('a query of 9 KiB', '1008 message does not match its schema', { ...hello, query: `query Hello { ${'hello '.repeat(1600)}}` });
await forbidden('a deep variable', '1008 JSON nested too deep', { ...hello, variables: { name: JSON.parse('['.repeat(12) + ']'.repeat(12)) } });
await forbidden('33 KiB', '1009 message is too big', { ...hello, variables: { name: 'x'.repeat(33 << 10) } });
await forbidden('a result of 2 MiB', '1011 peer sent too much', { operationName: 'Large', query: 'query Large { large }' });

await check('30 operations at once', async () => {
  const page = client();
  const all = await Promise.all(Array.from({ length: 30 }, () => first(page, hello).then(() => 'ok', (err) => err.message)));
  equal(new Set(all).has('1008 operation rate exceeded'), true, `30 at once: ${all}`);
  await page.dispose();
});

const begin = async (c) => {
  c.send('{"type":"connection_init"}');
  equal(JSON.parse((await c.inbox.next()).data).type, 'connection_ack', 'answer');
};
const ping = '{"type":"ping"}';
await closes('to begin twice', 1008, 'operation rate exceeded', (c) => c.send('{"type":"connection_init"}'), { protocols, begin });
await closes('a type that is not known', 1008, 'operation not allowed', (c) => c.send('{"type":"start","id":"1"}'), { protocols, begin });
await closes('a flood', 1008, 'too many messages', (c) => c.send(...Array.from({ length: 120 }, () => ping)), { protocols, begin });
await closes('a binary message', 1003, 'binary messages are not allowed', (c) => c.send(Buffer.from(ping)), { protocols, begin });
await closes('the service sends a binary message', 1011, 'peer sent a type that is not allowed', () => {
  for (const socket of sockets.clients) socket.send(Buffer.from(ping));
}, { protocols, begin });

await refused('a page of another site', 403, protocols, { Origin: 'https://evil.example' });
await refused('another protocol', 400, ['graphql-ws']);
await crowd('the 17th connection', 16, protocols);
await check('a plain request of another site', async () => equal(await status({ method: 'POST', body: '{"query":"{hello}"}' }), 200, 'status'));
done();

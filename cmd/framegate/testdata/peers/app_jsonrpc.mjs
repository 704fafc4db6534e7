// A node of a blockchain with json-rpc-2.0 on both sides of `ws`: calls, batches, subscriptions.
import { JSONRPCClient, JSONRPCServer, JSONRPCServerAndClient } from 'json-rpc-2.0';
import { WebSocketServer } from 'ws';
import { check, closes, Connection, normal, refused, serve, settled, standing, status, until } from './app.mjs';
import { done, equal } from './peer.mjs';

let sockets;
await serve(null, (server) => {
  sockets = new WebSocketServer({ server });
});
const calls = []; // methods that have reached the node
const head = { number: '0x10' };
const methods = {
  eth_chainId: () => '0x1',
  eth_blockNumber: () => '0x10',
  eth_call: ([{ data }]) => data,
  eth_getLogs: ([filter]) => [{ address: filter.address, data: '0x' }],
  eth_wait: () => new Promise(() => {}),
  eth_getProof: () => 'p'.repeat(5 << 20),
};

// peer makes what speaks JSON-RPC on a socket, both ways.
function peer(socket) {
  const both = new JSONRPCServerAndClient(new JSONRPCServer(), new JSONRPCClient((request) => socket.send(JSON.stringify(request))));
  socket.on('message', (data) => {
    const message = JSON.parse(data);
    // What the gateway refuses is answered without an id, since it does not say which of them it was.
    if (message.id === null) return both.rejectAllPendingRequests(`${message.error.code} ${message.error.message}`);
    both.receiveAndSend(message);
  });
  socket.on('close', (code) => both.rejectAllPendingRequests(`closed with ${code}`));
  return both;
}

sockets.on('connection', (socket) => {
  const both = peer(socket);
  for (const [name, method] of Object.entries(methods)) {
    both.addMethod(name, (params) => {
      calls.push(name);
      return method(params);
    });
  }
  both.addMethod('eth_subscribe', () => {
    setImmediate(() => both.notify('eth_subscription', [head]));
    return '0xcd0c';
  });
});

async function connect() {
  const connection = await new Connection([], {}).opened;
  return Object.assign(peer(connection.socket), { connection });
}

// failure is the error of a call.
const failure = (call) => call.then((result) => { throw new Error(`the result ${JSON.stringify(result).slice(0, 80)}`); }, (err) => err.message);

const request = (id, method, params) => ({ jsonrpc: '2.0', id, method, params });
const filter = { address: `0x${'7a'.repeat(20)}`, fromBlock: '0x1' };
const unavailable = '-32601 method not available', invalid = '-32600 invalid request', limited = '-32005 limit exceeded';

let client = await connect();
standing.connections = 1;
await check('calls', async () => {
  equal(await client.request('eth_chainId', []), '0x1', 'result');
  equal(await client.request('eth_call', [{ data: '0xabcd' }, 'latest']), '0xabcd', 'result');
  equal(await client.request('eth_getLogs', [filter]), [{ address: filter.address, data: '0x' }], 'result');
  equal(await failure(client.request('eth_gasPrice', [])), 'Method not found', "the node's own error");
});

await check('a batch', async () => {
  const answers = await client.requestAdvanced([request(101, 'eth_chainId', []), request(102, 'eth_blockNumber', [])]);
  equal(answers.map(({ result }) => result), ['0x1', '0x10'], 'results');
});

await check('a subscription', async () => {
  const heads = [];
  client.addMethod('eth_subscription', ([head]) => void heads.push(head));
  equal(await client.request('eth_subscribe', ['newHeads']), '0xcd0c', 'result');
  await until('a head', () => heads.length > 0);
  equal(heads, [head], 'heads');
});

await check('a call in a binary message', async () => {
  client.connection.send(Buffer.from(JSON.stringify(request(103, 'eth_chainId', []))));
  const { data, binary } = await client.connection.inbox.next();
  equal([typeof data, binary], ['object', false], 'answer');
});

await check('the node is gone for a moment', async () => {
  const pending = failure(client.request('eth_chainId', []));
  for (const socket of sockets.clients) socket.terminate();
  equal(await pending, 'closed with 1011', 'error');
  client = await connect();
  equal(await client.request('eth_chainId', []), '0x1', 'result');
});
await normal();

await check('the 9th connection, and a handshake too many', async () => {
  const all = Array.from({ length: 7 }, () => new Connection([], {})); // beside that of the client
  await Promise.all(all.map((c) => c.opened));
  const error = await new Connection([], {}).opened.then(() => 'none', (err) => err.message);
  equal(error, 'Unexpected server response: 429', 'error of the 9th connection');
  await Promise.all(all.map((c) => c.close()));
  await settled();
  const again = await Promise.allSettled(Array.from({ length: 7 }, () => new Connection([], {}).opened));
  equal(again.some(({ reason }) => reason?.message === 'Unexpected server response: 429'), true, 'a handshake is refused');
  await Promise.all(again.map(({ value }) => value?.close()));
  await new Promise((resolve) => setTimeout(resolve, 2500)); // two handshakes in a second
});

await check('methods that are not for everybody', async () => {
  for (const method of ['eth_sendRawTransaction', 'eth_accounts', 'debug_traceCall', 'personal_sign']) {
    equal(await failure(client.request(method, [])), unavailable, method);
  }
  const batch = client.requestAdvanced([request(104, 'eth_chainId', []), request(105, 'debug_traceCall', [])]);
  equal((await batch).map(({ error }) => error?.message), [unavailable, unavailable], 'answers to a batch that holds one');
});

await check('requests of another form', async () => {
  equal(await failure(client.request('eth_chainId', {})), invalid, 'params by name');
  equal(await failure(client.request('eth_getLogs', [{ adress: filter.address }])), invalid, 'a filter without address');
  equal(await failure(client.request('eth_call', [{ data: `0x${'00'.repeat(10_000)}` }])), invalid, 'a call with a whole contract');
  const pending = failure(client.request('eth_wait', []));
  client.connection.send('{"jsonrpc":"2.0","id":900,"method":"eth_chainId","method":"eth_accounts"}');
  equal(await pending, invalid, 'a name twice');
  equal(await client.request('eth_chainId', []), '0x1', 'the next call');
});

await check('a batch that is too large', async () => {
  const batch = Array.from({ length: 21 }, (_, i) => request(200 + i, 'eth_chainId', []));
  equal(new Set((await client.requestAdvanced(batch)).map(({ error }) => error?.message)), new Set([unavailable]), 'answers');
});

await check('costly calls in a row', async () => {
  const all = [];
  for (let i = 0; i < 12; i++) all.push(await client.request('eth_getLogs', [filter]).then(() => 'ok', (err) => err.message));
  const [ok, slow] = ['ok', limited].map((want) => all.filter((got) => got === want).length);
  if (ok < 3 || slow === 0 || ok + slow !== 12) throw new Error(`${all}`);
  equal(calls.filter((name) => name === 'eth_getLogs').length, ok + 1, 'what the node has seen of it');
});

await check('estimates in a row', async () => {
  const batch = Array.from({ length: 20 }, (_, i) => request(300 + i, 'eth_estimateGas', []));
  equal((await client.requestAdvanced(batch))[0].error.message, limited, 'answer to 20 at once');
});

await check('all calls in a row', async () => {
  const batch = (from) => Array.from({ length: 20 }, (_, i) => request(from + i, 'eth_chainId', []));
  const results = new Set();
  for (let i = 0; i < 8; i++) for (const { result, error } of await client.requestAdvanced(batch(1000 + 20 * i))) results.add(result ?? error.message);
  equal([...results].sort(), [limited, '0x1'].sort(), 'answers');
});

await check('what reached the node', async () => {
  equal([...new Set(calls)].sort(), ['eth_blockNumber', 'eth_call', 'eth_chainId', 'eth_getLogs', 'eth_wait'], 'methods');
});

await closes('65 KiB', 1009, 'message is too big', (c) => c.send(JSON.stringify(request(1, 'eth_call', [{ data: 'x'.repeat(65 << 10) }]))), { given: {} });
await closes('5 MiB of the node', 1011, 'peer sent too much', (c) => c.send(JSON.stringify(request(1, 'eth_getProof', []))), { given: {} });
await client.connection.close();
standing.connections = 0;
await refused('a page of a stranger', 403, [], { Origin: 'https://stranger.example' });
await check('a page of a wallet', () => new Connection([], { Origin: 'https://one.wallet.example' }).opened.then((c) => c.close()));
await check('a plain request', async () => equal(await status(), 426, 'status'));
done();

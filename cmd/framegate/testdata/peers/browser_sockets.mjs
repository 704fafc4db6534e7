// Many WebSockets of one page, and over which version of HTTP the browser has opened them, by its own network log.
import { launch } from './chromium.mjs';
import { check, done, emit, equal, options } from './peer.mjs';

const browser = await launch();
const page = browser.pages()[0] ?? await browser.newPage();
const cdp = await browser.newCDPSession(page);
await cdp.send('Network.enable');
const answers = [];
cdp.on('Network.webSocketHandshakeResponseReceived', ({ response }) => answers.push(response));
let version = '';
cdp.on('Network.responseReceived', ({ type, response }) => {
  if (type === 'Document') version = response.protocol;
});

await check('the page', async () => {
  equal((await page.goto(options.url)).status(), 200, 'status');
  equal(version, options.version, 'protocol of the page');
});

await check('its WebSockets', async () => {
  const echoed = await page.evaluate(({ url, count }) => Promise.all(Array.from({ length: count }, (_, i) => new Promise((resolve) => {
    const ws = new WebSocket(url, 'chat');
    (window.all ??= []).push(ws);
    ws.onopen = () => ws.send(`number ${i}`);
    ws.onmessage = (event) => resolve(`${event.data} ${ws.protocol}`);
    ws.onclose = (event) => resolve(`closed ${event.code}`);
  }))), { url: options.url.replace('https', 'wss') + '/ws', count: options.count });
  equal(echoed, Array.from({ length: options.count }, (_, i) => `number ${i} chat`), 'echoes');
  equal(answers.length, options.count, 'handshakes in the network log');
  equal([...new Set(answers.map((a) => a.status))], [200], 'their status: 101 would be HTTP/1.1');
});

await check('their ends', async () => {
  const closed = await page.evaluate(() => Promise.all(window.all.map((ws) => new Promise((resolve) => {
    ws.onclose = (event) => resolve(`${event.code} ${event.wasClean}`);
    ws.close(4000, 'enough');
  }))));
  equal([...new Set(closed)], ['4000 true'], 'codes');
});

await browser.close();
done();

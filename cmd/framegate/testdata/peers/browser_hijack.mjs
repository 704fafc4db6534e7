// Cross-site WebSocket hijacking as a user's browser would do it: the user is logged in and opens a page of
// another origin, here one of a subdomain, of which browsers send the cookie too.
import { launch } from './chromium.mjs';
import { check, done, equal, options } from './peer.mjs';

const browser = await launch();
const page = browser.pages()[0] ?? await browser.newPage();

// socket opens a WebSocket from the page and resolves with its first message, or with how it ended without one.
const socket = (path) => page.evaluate((url) => new Promise((resolve) => {
  const ws = new WebSocket(url);
  ws.onmessage = (event) => resolve(event.data);
  ws.onclose = (event) => resolve(`closed ${event.code}`);
}), options.url.replace('https', 'wss') + path);

await check('the page of the application itself', async () => {
  equal((await page.goto(options.url)).status(), 200, 'status');
  equal(await socket('/ws'), 'account of session=victim', 'its WebSocket');
});

await check('a page of another origin, where that is allowed', async () => {
  equal((await page.goto(options.evil)).status(), 200, 'status');
  equal(await socket('/ws/careless'), 'account of session=victim', 'the browser sends the cookie: the WebSocket');
});

await check('a page of another origin', async () => {
  equal(await socket('/ws'), 'closed 1006', 'its WebSocket');
});

await browser.close();
done();

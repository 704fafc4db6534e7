// Headless Chromium: the page through the gateway, its WebSocket, and what it is told when a connection ends. The Go test kills and
// restarts the upstream when it is asked to.
import { launch } from './chromium.mjs';
import { check, done, emit, equal, nextLine, options, within } from './peer.mjs';

const browser = await launch();
const page = browser.pages()[0] ?? await browser.newPage();
const complaints = [];
page.on('pageerror', (err) => complaints.push(String(err)));
page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));

// ask prints an event and waits until the Go test has done what it says.
async function ask(event) {
  emit({ event });
  await within(30_000, event, nextLine());
}

async function roundTrips(sizes) {
  let count = 0;
  for (const size of sizes) {
    for (const binary of [false, true]) {
      await page.evaluate(([size, binary, count]) => roundTrip(size, binary, count), [size, binary, ++count]);
    }
  }
}

await check('the page over plain HTTP', async () => {
  const response = await page.goto(options.url);
  equal(response.status(), 200, 'status');
  equal(await page.textContent('h1'), 'Peer page', 'heading');
  if (options.url.startsWith('https')) {
    const issuer = (await response.securityDetails()).issuer;
    if (!/framegate/i.test(issuer)) throw new Error(`the page's certificate is of ${issuer}`);
    const headers = await page.evaluate(() => fetch('/headers').then((answer) => answer.json()));
    equal([headers['x-forwarded-proto'], headers['x-forwarded-for']], ['https', '127.0.0.1'], 'forwarded headers');
  }
});

await check('server-sent events are not held back', async () => {
  equal(await page.evaluate(() => streamed()), ['first', 'second'], 'events');
});

await check('messages both ways', async () => {
  const opened = await page.evaluate(() => connect('/echo', ['chat.v2', 'chat.v1']));
  equal(opened, { extensions: 'permessage-deflate', protocol: 'chat.v2' }, 'handshake');
  await roundTrips(options.sizes);
});

await check('the upstream closes with 4321', async () => {
  const event = await page.evaluate(() => commandClose('!close 4321 from the upstream: ü'));
  equal(event, { code: 4321, reason: 'from the upstream: ü', wasClean: true }, 'close event');
});

await check('the page closes with 4321', async () => {
  await page.evaluate(() => connect('/echo'));
  const event = await page.evaluate(() => close(4321, 'from the page: ü'));
  equal(event, { code: 4321, reason: 'from the page: ü', wasClean: true }, 'close event');
});

await check('reload of the page', async () => {
  await page.evaluate(() => connect('/echo?fragments=5&ping=1'));
  await roundTrips([0, 125, 65536]);
  equal(await page.evaluate(() => command('!pongs')), 'all pongs', 'pongs');
  await page.reload(); // Chromium closes the page's connection with 1001, as the Go test sees at the upstream
  await page.evaluate(() => connect('/echo'));
  await roundTrips([1, 126, 127, 65535]);
});

await check('the upstream is killed', async () => {
  equal(complaints, [], 'errors in the console');
  await ask('kill');
  const event = await page.evaluate(() => closed());
  equal(event.code, options.cutCode, 'close code');
  equal(await page.textContent('#log li:last-child'), `closed with ${event.code} ${event.reason}`, 'what the page shows');
});

await check('reload when the upstream is back', async () => {
  await ask('restart');
  await page.reload();
  await page.evaluate(() => connect('/echo'));
  await roundTrips([1, 65536]);
});

await browser.close();
done();

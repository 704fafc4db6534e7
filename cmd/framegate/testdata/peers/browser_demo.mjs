// The demo as its user sees it: signing in, two pages that talk with each other, and everything that the list "Try the gateway" offers.
import { launch } from './chromium.mjs';
import { check, done, equal, options } from './peer.mjs';

const browser = await launch();
const ada = browser.pages()[0] ?? await browser.newPage();
const bob = await browser.newPage();
const complaints = [];
for (const page of [ada, bob]) page.on('pageerror', (err) => complaints.push(String(err)));

const polling = 50; // milliseconds; Playwright's default waits for animation frames, which a page in the background does not get

const connected = (page) =>
  page.waitForFunction(() => document.getElementById('state').dataset.state === 'open', undefined, { polling });

// reconnect presses "Reconnect now" as long as it is there; the page may be faster by itself.
async function reconnect(page) {
  const button = page.getByRole('button', { name: 'Reconnect now' });
  if (await button.isVisible()) await button.click({ timeout: 2000 }).catch(() => {});
  await connected(page);
}

// lastEnd waits for the given number of ends and returns code and reason of the newest as the page shows them.
async function lastEnd(page, count) {
  await page.waitForFunction((count) => document.querySelectorAll('#ends > li').length === count, count, { polling });
  const end = page.locator('#ends > li').first();
  return [await end.locator('.code').textContent(), await end.locator('.reason').textContent()];
}

// signIn opens the page and signs in.
async function signIn(page, name) {
  equal((await page.goto(options.url)).status(), 200, 'status');
  await page.fill('#name', name);
  await page.press('#name', 'Enter');
  await connected(page);
}

await check('without signing in', async () => {
  await bob.goto(options.url);
  await bob.bringToFront();
  equal(await bob.locator('#state-text').textContent(), 'Signed out', 'state');
  await bob.getByRole('button', { name: 'Connect anyway' }).click();
  equal(await lastEnd(bob, 1), ['401', 'token required'], 'end');
});

await check('two pages, signed in', async () => {
  await signIn(bob, 'Bob');
  await signIn(ada, 'Ada');
  await ada.waitForFunction(() => document.querySelectorAll('#people li').length === 2, undefined, { polling });
  equal(await ada.locator('#people .me').textContent(), 'AAdayou', 'who Ada is');
});

await check('a message reaches both', async () => {
  await ada.fill('#text', 'Grüße 👋 <b>to all</b>');
  await ada.press('#text', 'Enter');
  for (const page of [ada, bob]) {
    const said = page.locator('#log .said').last();
    await said.waitFor();
    equal(await said.textContent(), 'Grüße 👋 <b>to all</b>', 'what is shown');
  }
});

await check('close code and reason of the application', async () => {
  await ada.bringToFront(); // clicks wait for animation frames too
  await ada.fill('#text', '/close 4321 good bye');
  await ada.press('#text', 'Enter');
  equal(await lastEnd(ada, 1), ['4321', 'good bye'], 'end');
  await reconnect(ada);
});

await check('everything to try', async () => {
  const tries = ada.locator('button.try');
  const count = await tries.count();
  if (count < 5) throw new Error(`${count} things to try`);
  for (let i = 0; i < count; i++) {
    const want = await tries.nth(i).locator('code').textContent();
    await tries.nth(i).click();
    const [code] = await lastEnd(ada, i + 2);
    equal(code, want, `close code of ${await tries.nth(i).locator('.title').textContent()}`);
    await reconnect(ada);
  }
});

await check('as another site', async () => {
  const opened = browser.waitForEvent('page');
  await ada.locator('#other').click();
  const page = await opened;
  equal(await lastEnd(page, 1), ['1006', 'no reason given'], 'end');
  equal(new URL(page.url()).hostname, 'other.localhost', 'host');
  equal(await page.locator('#away').isVisible(), true, 'the banner is there');
  await page.fill('#name', 'Mallory'); // a token of her own does not help
  await page.press('#name', 'Enter');
  equal(await lastEnd(page, 2), ['1006', 'no reason given'], 'end, signed in');
  await page.close();
  await ada.bringToFront();
});

await check('a narrow screen', async () => { // 320 pixels: WCAG 2.2, 1.4.10
  const { width, height } = ada.viewportSize();
  for (const narrow of [320, 390, 700]) {
    await ada.setViewportSize({ width: narrow, height: 800 });
    equal(await ada.evaluate(() => document.documentElement.scrollWidth), narrow, 'width of the page');
    equal(await ada.evaluate(() => document.getElementById('toggle').offsetHeight), 44, `height of the button at ${narrow} pixels`);
  }
  await ada.setViewportSize({ width, height });
});

await check('reload', async () => {
  await ada.reload();
  await connected(ada);
  await bob.bringToFront();
  await bob.fill('#text', 'still here');
  await bob.press('#text', 'Enter');
  await ada.locator('#log .said', { hasText: 'still here' }).waitFor();
  equal(await bob.locator('#ends > li').count(), 0, "ends of the other page's connection");
  equal(complaints, [], 'errors in the pages');
});

await check('signing out', async () => {
  await bob.getByRole('button', { name: 'Sign out' }).click();
  equal((await lastEnd(bob, 1))[0], '1000', 'end');
  equal(await bob.locator('#state-text').textContent(), 'Signed out', 'state');
  await bob.reload();
  equal(await bob.getByRole('button', { name: 'Sign in' }).isVisible(), true, 'it can sign in again');
});

await browser.close();
done();

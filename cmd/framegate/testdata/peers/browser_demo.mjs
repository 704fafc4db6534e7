// The demo as its user sees it: two pages that talk with each other, and everything that the list "Try the gateway" offers.
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

await check('two pages', async () => {
  for (const page of [ada, bob]) {
    equal((await page.goto(options.url)).status(), 200, 'status');
    await connected(page);
  }
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
  const tries = ada.locator('.try');
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

await browser.close();
done();

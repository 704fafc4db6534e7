// launch starts headless Chromium with a profile of its own; it calls nobody but the page that is opened.
import { chromium } from 'playwright-core';
import { options } from './peer.mjs';

export function launch() {
  return chromium.launchPersistentContext(options.profile, {
    executablePath: options.executable,
    args: ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      ...(options.args ?? ['--disable-quic'])],
    timeout: 60_000,
  });
}

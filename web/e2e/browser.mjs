import { chromium } from 'playwright-core';

/** Its connection is its own, as in a browser without broadcasts: what a worker holds can be neither heard nor answered from here. */
export const alone = (page) => page.addInitScript(() => delete window.BroadcastChannel);

// A page that was not there is loaded by the browser itself a second later, into the middle of what is looked at.
const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage', '--disable-auto-reload'];

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });

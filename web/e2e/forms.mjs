// What a person makes, sets and reads with forms: teams, settings, messages, events, the system.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promise, until } from './world.mjs';

const uidOf = (here, name) => here.agentmux('ls', '--all').find((agent) => agent.name === name).uid;

promise('a team is made with a form: the file is written, its agents run, and the command line has nothing to do', async (here) => {
  const page = await here.visit({ hash: '#/new/team' });
  const file = join(here.root, 'work', 'agentmux.toml');
  await page.getByLabel('Folder or file').fill(join(here.root, 'work'));
  await page.getByText('is not there yet: this makes it').waitFor();
  await page.getByLabel('Team', { exact: true }).fill('shop');
  const lead = page.getByRole('listitem', { name: 'Agent lead' });
  await lead.getByLabel('Kind').fill('fake');
  await page.getByRole('button', { name: 'One more agent' }).click();
  const other = page.getByRole('listitem', { name: 'Agent agent1' });
  await other.getByLabel('Kind').fill('shel');
  await other.getByText('did you mean shell?').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Write and start' }).isDisabled(), 'what is wrong is not started');
  await other.getByLabel('Kind').fill('shell');
  await other.getByText('More').click();
  await other.getByLabel('Environment').fill('SECRET=hidden');
  await other.getByLabel('lead').check();
  const plan = page.getByRole('region', { name: 'What this does' });
  await plan.getByText('with SECRET set').waitFor();
  assert.doesNotMatch(await plan.innerText(), /hidden/, 'what a variable holds is not shown');
  assert.ok(!existsSync(file));
  await page.getByRole('button', { name: 'Write and start' }).click();
  // Whoever starts a team need not stay and look.
  await page.evaluate(() => (location.hash = '#/inbox'));
  await page.getByText('Team shop is as the file says').first().waitFor();
  assert.match(readFileSync(file, 'utf8'), /name = "shop"[\s\S]*start_after = \["lead"\]/);
  const states = here.agentmux('ls', '--all').map((agent) => `${agent.name}@${agent.team}`);
  assert.deepEqual(states.sort(), ['agent1@shop', 'lead@shop']);
  assert.equal(here.agentmux('up', '--dry-run').changed, false);
  assert.ok(here.agentmux('up', '--dry-run').plan.every((step) => step.what === 'keep'));
});

promise('what the form of an agent says will be run is what is run', async (here) => {
  writeFileSync(join(here.root, 'config', 'agents.toml'), '[kind.full]\nabout = "takes all of it"\ndialect = "claude"\nprogram = "sh"\nargs = ["-c", "sleep 1000; :"]\nnew_args = ["--session-id", "{session}"]\nmodel_args = ["--model", "{model}"]\nmcp_args = ["--mcp-config", "{mcp}"]\n');
  here.agentmux('server', 'restart');
  const page = await here.visit({ hash: '#/new' });
  await page.locator('[name=kind][value=full]').check({ force: true });
  await page.getByLabel('Name').fill('kay');
  await page.getByPlaceholder('/home/me/project').fill(here.root);
  await page.getByLabel('More arguments').fill('--last');
  await page.getByRole('button', { name: 'More', exact: true }).click();
  await page.getByLabel('Model', { exact: true }).fill('opus');
  const said = page.locator('.preview pre').first();
  await until(async () => /opus.*--last$/.test(await said.innerText()), 'all of it in what will be run');
  const told = (await said.innerText()).replaceAll("'", '');
  await page.getByRole('button', { name: 'Create and start' }).click();
  const { pid } = await until(() => here.agentmux('ls', '--all').find((agent) => agent.name === 'kay' && agent.pid), 'it runs');
  const ran = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  const known = ran.map((word) => (/^[0-9a-f]{8}-/.test(word) ? '<new id>' : word.startsWith('{') ? '<our tools>' : word));
  assert.equal(told, known.join(' '));
});

promise('a team file that is there is changed by a person and by a page: comments stay, who restarts is said first, and nobody writes over the other', async (here) => {
  const file = join(here.root, 'work', 'agentmux.toml');
  const text = '# ours\n[team]\nname = "shop"\n\n[[agent]]\nname = "api" # the server\nkind = "shell"\n\n[[agent]]\nname = "web"\nkind = "shell"\n';
  writeFileSync(file, text);
  here.agentmux('up', '--yes');
  const page = await here.visit({ hash: '#/new/team' });
  await page.getByLabel('Folder or file').fill(file);
  await page.getByText('nothing: the team is so already').waitFor();
  const api = page.getByRole('listitem', { name: 'Agent api' });
  await api.getByLabel('Role').fill('answers');
  await page.locator('.plan').getByText('change', { exact: true }).waitFor();
  await api.getByLabel('Arguments').fill('-l');
  await api.getByLabel('Arguments').press('Tab');
  await page.getByRole('button', { name: 'Write and restart api' }).waitFor();
  await page.getByRole('button', { name: 'Text' }).click();
  const area = page.getByLabel('Text of the team file');
  assert.equal(await area.inputValue(), text.replace('kind = "shell"\n', 'kind = "shell"\nrole = "answers"\nargs = ["-l"]\n'));
  writeFileSync(file, `${text}# mine\n`);
  await page.getByRole('button', { name: 'Write and restart api' }).click();
  await page.getByText('somebody else wrote it meanwhile').first().waitFor();
  assert.equal(readFileSync(file, 'utf8'), `${text}# mine\n`);
  await page.getByText('Somebody else wrote this file meanwhile').waitFor();
  await area.press('End');
  await area.pressSequentially('# more');
  await page.locator('.comes').getByText('# more').waitFor();
  const refusals = await page.getByText('somebody else wrote it meanwhile').count();
  await page.getByRole('button', { name: 'Write and restart api' }).click();
  await until(async () => (await page.getByText('somebody else wrote it meanwhile').count()) > refusals, 'another refusal');
  assert.equal(readFileSync(file, 'utf8'), `${text}# mine\n`, 'a key more is no leave to write over it');
  writeFileSync(file, text);
  const run = () => here.agentmux('ls', '--all').map((agent) => [agent.name, agent.run]);
  const before = Object.fromEntries(run());
  await page.getByRole('button', { name: 'Write and restart api' }).click();
  await page.getByText('Team shop is as the file says').first().waitFor();
  const after = Object.fromEntries(run());
  assert.deepEqual([after.api, after.web], [before.api + 1, before.web]);
  assert.match(readFileSync(file, 'utf8'), /^# ours[\s\S]*# the server/);
});

promise('a message goes to several at once, with a file that can be left out, and each copy says how far it has come and by what', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('new', 'kay', '--agent', 'fake', '--no-start-agent');
  const page = await here.visit({ hash: '#/messages' });
  await page.getByRole('button', { name: 'New message' }).click();
  const to = page.getByRole('combobox', { name: 'To' });
  await to.fill('fa');
  await page.getByRole('option', { name: /^fay@default/ }).waitFor();
  await to.press('Enter');
  await to.fill('kay');
  await to.press('Enter');
  await page.getByLabel('Text').fill('say:2 both of you');
  const bytes = Buffer.from('kept\n');
  await page.getByLabel('Choose files').setInputFiles([{ name: 'a.txt', mimeType: 'text/plain', buffer: bytes }, { name: 'b.txt', mimeType: 'text/plain', buffer: bytes }]);
  await page.getByRole('button', { name: 'Leave b.txt out' }).click();
  await page.getByLabel('Class').selectOption('info');
  await page.getByRole('button', { name: 'Send to all of them' }).click();
  const copy = (name) => page.locator('.copies > li', { hasText: name });
  await copy('kay@default').getByText('held', { exact: true }).waitFor();
  await copy('kay@default').getByText(/not running/).waitFor();
  await copy('fay@default').getByText('done').waitFor();
  await copy('fay@default').getByRole('button').first().click();
  const steps = await copy('fay@default').locator('.history li').allInnerTexts();
  assert.ok(steps.length >= 3 && /accepted/.test(steps[0]) && /done/.test(steps.at(-1)), steps.join('\n'));
  await copy('kay@default').getByRole('button', { name: 'Take back' }).click();
  await copy('kay@default').getByText('cancelled').waitFor();
  const [mail] = here.agentmux('inbox', '--agent', 'fay', '--all');
  assert.deepEqual([mail.class, mail.attachments.map((file) => file.name)], ['info', ['a.txt']]);
});

promise('each thread has a reply of its own, and a new message waits while something else is read', async (here) => {
  for (const name of ['fay', 'kay']) {
    here.agentmux('new', name, '--agent', 'fake', '--no-start-agent');
    here.agentmux('send', name, '-m', `hello ${name}`);
  }
  const page = await here.visit({ hash: '#/messages' });
  const open = (name) => page.getByRole('link', { name: new RegExp(`hello ${name}`) }).click();
  const reply = page.getByRole('textbox', { name: 'Reply' });
  await open('fay');
  await reply.fill('for fay');
  let letThrough;
  const isThere = new Promise((done) => (letThrough = done));
  await page.route('**/v1/attachments', (route) => isThere.then(() => route.continue()));
  await page.getByLabel('Choose files').setInputFiles([{ name: 'fay.txt', mimeType: 'text/plain', buffer: Buffer.from('x') }]);
  await page.getByRole('button', { name: 'Leave fay.txt out' }).waitFor();
  await reply.press('Enter');
  await page.getByRole('region', { name: 'Notices' }).getByText('files are still on their way').waitFor();
  letThrough();
  await page.getByRole('list', { name: 'Files to send' }).getByText('1 B').waitFor();
  await open('kay');
  await until(async () => (await reply.inputValue()) === '', 'a field of its own');
  assert.equal(await page.getByRole('button', { name: 'Leave fay.txt out' }).count(), 0);
  await page.getByRole('button', { name: 'New message' }).click();
  await page.getByLabel('Text').fill('to be finished');
  await open('fay');
  await page.getByRole('button', { name: 'Leave fay.txt out' }).waitFor();
  assert.equal(await reply.inputValue(), 'for fay');
  await reply.press('Enter');
  await reply.press('Enter');
  await until(() => here.agentmux('inbox', '--agent', 'fay', '--all').length === 2, 'the reply');
  const mail = here.agentmux('inbox', '--agent', 'fay', '--all').map(({ body, attachments }) => [body, attachments?.length ?? 0]);
  assert.deepEqual(mail.sort(), [['for fay', 1], ['hello fay', 0]]);
  assert.equal(here.agentmux('inbox', '--agent', 'kay', '--all').length, 1);
  await page.getByRole('button', { name: 'New message' }).click();
  assert.equal(await page.getByLabel('Text').inputValue(), 'to be finished');
});

promise('the graph is reached by keys, says what an arrow stands for, holds mail and lets it go, and its table has the same', async (here) => {
  for (const name of ['fay', 'kay']) here.agentmux('new', name, '--agent', 'fake');
  for (const name of ['fay', 'kay', 'fay']) await here.later('send', name, '-m', 'say:1', '--wait', 'acked');
  const page = await here.visit({ hash: '#/messages/graph' });
  const arrow = page.getByRole('link', { name: /^you to fay: 2 messages/ });
  await arrow.focus();
  await page.getByRole('button', { name: 'Hold mail to fay' }).click();
  await page.getByText('Held: fay@default').waitFor();
  here.agentmux('send', 'fay', '-m', 'later');
  await page.getByRole('button', { name: 'Table' }).click();
  const row = page.getByRole('row', { name: /you fay 3/ });
  await row.getByText('held').waitFor();
  await page.getByRole('button', { name: 'Deliver to fay' }).click();
  await row.getByText('arrived').waitFor();
  await page.getByRole('button', { name: '15 min' }).click();
  const end = page.getByRole('slider', { name: 'End of the span' });
  await end.focus();
  for (let i = 0; i < 12; i += 1) await page.keyboard.press('ArrowLeft');
  await page.getByText('Nobody wrote in this time').waitFor();
  await page.getByRole('button', { name: 'The whole span' }).click();
  await row.waitFor();
});

promise('a setting that is changed anywhere is changed here, says where it comes from, and goes back', async (here) => {
  const page = await here.visit({ hash: '#/settings' });
  const field = page.getByRole('spinbutton', { name: 'agent.stop_grace_ms' });
  const first = await field.inputValue();
  here.agentmux('config', 'set', 'agent.stop_grace_ms', '4321');
  await until(async () => (await field.inputValue()) === '4321', 'the value of the command line');
  await page.getByLabel('only what is set').check();
  assert.equal(await page.locator('.settings b.mono').count(), 2, 'that, and the port of the file');
  await page.getByText('set in settings.jsonc').waitFor();
  assert.ok(await page.getByRole('spinbutton', { name: 'http.port' }).isDisabled(), 'the file wins');
  await field.fill('1234');
  await field.press('Tab');
  await until(() => here.agentmux('config', 'show').find((one) => one.key === 'agent.stop_grace_ms').value === 1234, 'the value of the page');
  await page.getByRole('button', { name: 'Back to the default' }).click();
  await field.waitFor({ state: 'detached' });
  await page.getByLabel('only what is set').uncheck();
  assert.equal(await field.inputValue(), first);
});

promise('events are told apart by agent and kind, and while they are paused nothing moves and nothing is lost', async (here) => {
  for (const name of ['fay', 'kay']) here.agentmux('new', name, '--agent', 'fake', '--no-start-agent');
  const page = await here.visit({ hash: '#/events' });
  const types = () => page.locator('.events .type').allInnerTexts();
  await until(async () => (await types()).filter((type) => type === 'agent.created').length === 2, 'both are made');
  await page.getByLabel('Agent', { exact: true }).selectOption({ label: 'kay@default' });
  await until(async () => (await types()).filter((type) => type === 'agent.created').length === 1, 'one of them is of kay');
  await page.getByLabel('Agent', { exact: true }).selectOption('');
  await page.getByRole('button', { name: 'Pause' }).click();
  const before = await types();
  here.agentmux('new', 'ray', '--agent', 'fake', '--no-start-agent');
  await page.getByText(/\d+ more since/).waitFor();
  assert.deepEqual(await types(), before);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByLabel('Type').selectOption('agent.created');
  await until(async () => (await types()).length === 3, 'all three');
});

promise('the system shows what agents use, hands out diagnostics without a word of anybody, and signs a browser out', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('send', 'operator', '-m', 'a secret word');
  const page = await here.visit({ hash: '#/system' });
  await page.getByRole('link', { name: 'fay@default' }).last().waitFor();
  await page.locator('.rows .right', { hasText: /^\d.*%$/ }).first().waitFor();
  await page.evaluate(() => {
    navigator.clipboard.writeText = async (text) => void (window.copied = text);
  });
  await page.getByRole('button', { name: 'Copy diagnostics' }).click();
  await until(() => page.evaluate(() => window.copied), 'diagnostics');
  const told = await page.evaluate(() => window.copied);
  const { health, boot, agents } = JSON.parse(told);
  assert.ok(health.length > 0 && boot.length > 3 && agents[0].rss_bytes > 0, told);
  assert.doesNotMatch(told, /secret|fay|\/tmp/);
  const other = await here.visit();
  await page.reload();
  await page.getByRole('button', { name: 'Sign all out' }).click();
  await other.getByRole('heading', { name: 'Sign in to agentmux' }).waitFor();
});

promise('the palette finds old mail by its words and any message by its id, settings too, and what was chosen last stands first', async (here) => {
  const id = here.agentmux('send', 'operator', '-m', 'the zebra crosses').id ?? here.agentmux('inbox')[0].id;
  here.agentmux('new', 'fay', '--agent', 'fake', '--no-start-agent');
  const page = await here.visit();
  const field = page.getByRole('combobox', { name: /^Find/ });
  const first = page.getByRole('listbox', { name: 'Found' }).getByRole('option').first();
  const find = async (text) => {
    await page.keyboard.press('Control+k');
    await field.fill(text);
  };
  await find('zebra');
  await page.getByRole('option', { name: /the zebra crosses/ }).waitFor();
  await field.fill(id);
  await page.getByRole('option', { name: /the zebra crosses/ }).waitFor();
  await page.keyboard.press('Enter');
  await page.locator('.thread').getByText('the zebra crosses').waitFor();
  await find('stop_grace');
  await page.getByRole('option', { name: /Setting: agent.stop_grace_ms/ }).waitFor();
  await page.keyboard.press('Enter');
  await page.getByRole('spinbutton', { name: 'agent.stop_grace_ms' }).waitFor();
  assert.equal(await page.locator('.settings b.mono').count(), 1);
  await find('events');
  await page.keyboard.press('Enter');
  await find('');
  await until(async () => /^Events/.test(await first.innerText()), 'the last one first');
  assert.equal(await field.getAttribute('aria-activedescendant'), await first.getAttribute('id'));
});

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
  await page.getByText('Team shop is as the file says').first().waitFor();
  assert.match(readFileSync(file, 'utf8'), /name = "shop"[\s\S]*start_after = \["lead"\]/);
  const states = here.agentmux('ls', '--all').map((agent) => `${agent.name}@${agent.team}`);
  assert.deepEqual(states.sort(), ['agent1@shop', 'lead@shop']);
  assert.equal(here.agentmux('up', '--dry-run').changed, false);
  assert.ok(here.agentmux('up', '--dry-run').plan.every((step) => step.what === 'keep'));
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
  writeFileSync(file, text);
  const run = () => here.agentmux('ls', '--all').map((agent) => [agent.name, agent.run]);
  const before = Object.fromEntries(run());
  await page.getByRole('button', { name: 'Write and restart api' }).click();
  await page.getByText('Team shop is as the file says').first().waitFor();
  const after = Object.fromEntries(run());
  assert.deepEqual([after.api, after.web], [before.api + 1, before.web]);
  assert.match(readFileSync(file, 'utf8'), /^# ours[\s\S]*# the server/);
});

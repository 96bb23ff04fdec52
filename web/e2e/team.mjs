// A team for pictures and for the machine that looks for barriers: every state, every kind of row, hostile names.
const NOW = Date.now();
const at = (s) => new Date(NOW - s * 1000).toISOString();
const uid = (n) => `018f0000-0000-7000-8000-${String(n).padStart(12, '0')}`;
const mail = { paused: false, while_working: 'boundary', boundary_ms: 120000, wakes_per_hour: 60 };

const agent = (n, name, team, kind, state, reason, since, more = {}) => ({
  uid: uid(n), name, team, kind, state, reason, since: at(since), run: state === 'offline' ? null : 3, pid: 4000 + n, cwd: `/home/mira/${team}`,
  session_id: '6a1f0f6e-1f5b-4e39-9d6e-6fd5a4f0a1d2', unread: 0, queued: 0, role: null, model: kind === 'shell' ? null : 'opus-5', cost_micro_usd: null,
  context_used: null, context_size: null, turn: 4, team_id: uid(900), groups: [], desired: { type: 'running', run: 3 }, created: at(86400),
  is_terminal: kind === 'shell' || kind === 'cmd', is_live: !['offline', 'failed'].includes(state), phase: { is: 'idle' }, turn_open: state === 'working', tasks: 0,
  mode: kind === 'claude' ? 'default' : null, worktree: false, branch: more.worktree ? `amux/${name}` : null, mail, removing: false, draft: null, rev: 7, ...more,
});

export const agents = [
  agent(1, 'lead', 'shop', 'claude', 'working', 'Edit src/cart/total.rs', 64, { role: 'plans the work and reviews it', cost_micro_usd: 1_840_000, context_used: 84_000, context_size: 200_000, queued: 2 }),
  agent(2, 'api', 'shop', 'codex', 'needs_permission', 'Run cargo migrate --to 14 on the shared database', 190, { model: 'gpt-5.4-codex', cost_micro_usd: 620_000, context_used: 171_000, context_size: 200_000, worktree: true }),
  agent(3, 'web', 'shop', 'claude', 'needs_answer', 'Which currency do refunds use?', 410, { cost_micro_usd: 310_000, context_used: 42_000, context_size: 200_000, worktree: true }),
  agent(4, 'tests', 'shop', 'shell', 'working', 'cargo nextest run', 12),
  agent(5, 'docs', 'shop', 'gemini', 'idle', 'turn 4 ended', 900, { model: 'gemini-3-pro', context_used: 12_000, context_size: 1_000_000 }),
  agent(6, 'scout', 'research', 'claude', 'rate_limited', 'retry 3/10: overloaded', 33, { cost_micro_usd: 90_000 }),
  agent(7, 'reader', 'research', 'qwen', 'failed', 'exit 1: the model is not available to this account', 1500, { model: 'qwen3-coder' }),
  agent(8, 'notes', 'research', 'opencode', 'background', '2 background tasks', 77),
  agent(9, 'night', 'research', 'claude', 'offline', 'asked to stop', 30000),
  agent(10, 'shell', 'default', 'shell', 'unknown', 'running; nothing tells what it does', 3600),
];

const options = [
  { id: 'allow', label: 'Allow', kind: 'allow_once' },
  { id: 'always', label: 'Always allow cargo migrate', kind: 'allow_always' },
  { id: 'deny', label: 'Deny', kind: 'reject_once' },
];
export const requests = [
  { agent_uid: uid(2), id: uid(101), kind: 'permission', agent: 'api@shop', run: 3, title: 'Run cargo migrate --to 14 on the shared database', detail: 'cargo migrate --to 14 --database postgres://staging/shop\n\n-- 14_refunds.sql\nalter table orders add column refunded_at timestamptz;\ncreate index concurrently orders_refunded on orders (refunded_at);', options, created: at(190), expires: null, tool: 'Bash', subject: 'cargo migrate' },
  { agent_uid: uid(3), id: uid(102), kind: 'question', agent: 'web@shop', run: 3, title: 'Which currency do refunds use?', detail: '', options: [{ id: 'a', label: 'That of the order', kind: 'choice' }, { id: 'b', label: 'That of the account', kind: 'choice' }, { id: 'c', label: 'Always EUR', kind: 'choice' }], created: at(410), expires: null, tool: null, subject: null },
];

const passed = (stage, s, evidence = null) => ({ stage, at: at(s), evidence });
const message = (n, from, to, body, s, stage, more = {}) => ({
  id: uid(200 + n), from, body, thread: uid(200 + (more.thread ?? n)), reply_to: null, priority: more.priority ?? 'normal', class: 'request', expires: null, cause: null, created: at(s), to: [].concat(to),
  deliveries: [].concat(to).map((one) => ({ to: one, id: uid(200 + n), stage, reason: more.reason ?? null, until: more.until ?? null, attempts: 1, history: [passed('accepted', s), passed('routed', s - 1), passed('handed', s - 1, '312 bytes taken by its pipe'), passed(stage, s - 4, more.evidence ?? null)] })),
});
export const messages = [
  message(1, 'operator', 'lead@shop', 'Refunds need to be in by Thursday. Split it between **api** and **web**, and keep me posted.', 7200, 'answered'),
  message(2, 'lead@shop', ['api@shop', 'web@shop'], 'Plan for refunds:\n\n1. `api`: table and endpoint `POST /refunds`\n2. `web`: form and list\n\nAgree on the shape of a refund first.', 6900, 'acked', { thread: 1 }),
  message(3, 'api@shop', 'web@shop', 'Proposed shape: `{ order, amount_minor, currency, reason }`. Amounts in minor units.', 6600, 'answered', { thread: 1 }),
  message(4, 'web@shop', 'api@shop', 'Fine by me. Is `reason` free text or a closed list?', 6500, 'answered', { thread: 1 }),
  message(5, 'api@shop', 'web@shop', 'A closed list of five, I send it with the OpenAPI file.', 6400, 'acked', { thread: 1 }),
  message(6, 'lead@shop', 'operator', 'Refunds are half done. `api` waits for your permission to migrate staging; `web` has a question about currencies.\n\nEverything else is green.', 150, 'handed', { thread: 1 }),
  message(7, 'operator', 'lead@shop', 'Also add a test for partial refunds', 50, 'held', { reason: 'it works; at the next boundary of its turn', until: new Date(NOW + 70_000).toISOString() }),
  message(8, 'docs@shop', 'lead@shop', 'The refund page of the handbook is drafted. May I link it from the index?', 45, 'held', { reason: 'collected for half a minute' }),
  message(9, 'scout@research', 'notes@research', 'Found three papers on idempotent payments.', 3000, 'acked'),
  message(10, 'notes@research', 'scout@research', 'Thanks, filed.', 2900, 'unproven', { reason: 'its run ended before it could be seen', thread: 9 }),
  message(11, 'operator', 'reader@research', 'Summarise chapter 4', 1600, 'failed', { reason: 'the agent failed' }),
];

const pane = (n, tab, content, title = null) => ({ id: uid(n), tab: uid(tab), title, content, rev: 1 });
export const panes = [pane(401, 301, { type: 'agent', agent: uid(1) }), pane(402, 301, { type: 'agent', agent: uid(4) }), pane(403, 301, { type: 'view', view: 'inbox' }), pane(404, 302, { type: 'empty' })];
export const tabs = [
  { id: uid(301), workspace: uid(300), name: 'refunds', pinned: false, focus: uid(401), rev: 4, root: { type: 'split', id: uid(501), direction: 'row', children: [{ size: 3, node: { type: 'leaf', panes: [uid(401)], active: uid(401) } }, { size: 2, node: { type: 'split', id: uid(502), direction: 'column', children: [{ size: 1, node: { type: 'leaf', panes: [uid(402)], active: uid(402) } }, { size: 1, node: { type: 'leaf', panes: [uid(403)], active: uid(403) } }] } }] } },
  { id: uid(302), workspace: uid(300), name: 'research', pinned: false, focus: null, rev: 1, root: { type: 'leaf', panes: [uid(404)], active: uid(404) } },
];
const kind = (dialect, about, program, more = {}) => ({ dialect, about, program, args: [], new_args: [], resume_args: [], model_args: [], mode_args: [], mcp_args: [], env: {}, unset: [], ...more });
const kinds = {
  claude: kind('claude', 'Claude Code', 'claude', { args: ['--input-format', 'stream-json', '--output-format', 'stream-json', '--verbose'], new_args: ['--session-id', '{session}'], model_args: ['--model', '{model}'], install: 'npm install -g @anthropic-ai/claude-code' }),
  codex: kind('codex', 'Codex', 'codex', { args: ['app-server'] }), gemini: kind('acp', 'Gemini CLI', 'gemini', { args: ['--acp'] }), qwen: kind('acp', 'Qwen Code', 'qwen'), opencode: kind('acp', 'opencode', 'opencode'),
  shell: kind('pty', 'your shell in a terminal'), cmd: kind('pty', 'any program in a terminal'), acp: kind('acp', 'any program that speaks the Agent Client Protocol'), tmux: kind('tmux', 'a pane of a tmux server that runs already'),
};
const number = (value, min, max, about, source = null) => ({ value, default: value, source, takes: { type: 'number', min, max }, about, rev: source ? 2 : 0 });
const settings = {
  'agent.idle_output_ms': number(0, 0, 86_400_000, 'An agent that prints nothing for so long is stopped; 0: never.'),
  'agent.max_runtime_ms': number(0, 0, 604_800_000, 'No run lasts longer; 0: no limit.'),
  'archive.idle_days': number(7, 1, 3650, 'Runs that nobody touched for so long are archived.', 'command'),
  'tape.max_mb': number(64, 1, 4096, "What is kept of a terminal's output.", 'file'),
  'http.allowed_origins': { value: ['https://mux.example.org'], default: [], source: 'file', takes: { type: 'texts', max: 16, among: [] }, about: 'Other origins under which a reverse proxy serves this.', rev: 1 },
};

export function rows() {
  const out = [];
  const put = (table, key, row) => out.push({ table, key, row });
  for (const row of agents) put('agent', row.uid, row);
  for (const row of requests) put('request', row.id, row);
  for (const row of messages) put('message', row.id, row);
  for (const row of panes) put('pane', row.id, row);
  for (const row of tabs) put('tab', row.id, row);
  put('workspace', uid(300), { id: uid(300), name: 'main', tabs: tabs.map((tab) => tab.id), active: uid(301), torn_from: null, rev: 2, index: 0 });
  for (const [n, name] of ['shop', 'research', 'default'].entries()) put('team', uid(900 + n), { id: uid(900 + n), name, created: at(90000), removing: false, rev: 1 });
  for (const [key, row] of Object.entries(kinds)) put('kind', key, row);
  for (const [key, row] of Object.entries(settings)) put('setting', key, row);
  put('server', 'default', { profile: 'default', version: '0.3.0', mode: 'read_write', started: at(186_400), epoch: uid(1), hostname: 'mira-desk', web_url: 'http://127.0.0.1:7700' });
  return out;
}

const items = [
  { type: 'session', session: { id: 's', how: { type: 'resumed' }, model: 'opus-5' } },
  { type: 'input', input: uid(201), text: 'Refunds need to be in by Thursday. Split it between api and web, and keep me posted.' },
  { type: 'turn_started', turn: 3, trigger: 'input' },
  { type: 'input_stage', input: uid(201), stage: 'ended', evidence: 'turn 3 ended' },
  { type: 'thinking', id: 'th', text: 'The cart keeps totals as floats in one place. Refunds must be exact, so that has to change first.\n\nI will look at where totals are computed.' },
  { type: 'message', id: 'm1', text: 'I start with how totals are computed, since a refund has to give back **exactly** what was paid.' },
  { type: 'plan', entries: [{ text: 'Find every place that computes a total', status: 'completed' }, { text: 'Amounts in minor units', status: 'in_progress' }, { text: 'Endpoint for refunds, with `api`', status: 'pending' }, { text: 'Form and list, with `web`', status: 'pending' }] },
  { type: 'tool_started', tool: { id: 't1', name: 'Grep', kind: 'search', title: 'fn total in src/', input: { pattern: 'fn total', path: 'src/' } } },
  { type: 'tool_done', id: 't1', output: 'src/cart/total.rs:12:pub fn total(cart: &Cart) -> f64 {\nsrc/order/mod.rs:88:    fn total(&self) -> f64 {\n', is_error: false },
  { type: 'tool_started', tool: { id: 't2', name: 'Read', kind: 'read', title: 'src/cart/total.rs', input: { file_path: 'src/cart/total.rs', offset: 1, limit: 40 } } },
  { type: 'tool_done', id: 't2', output: '…', is_error: false },
  { type: 'tool_started', tool: { id: 't3', name: 'Edit', kind: 'edit', title: 'src/cart/total.rs', input: {} } },
  { type: 'diff', tool: 't3', path: 'src/cart/total.rs', change: { type: 'unified', diff: '@@ -10,8 +10,8 @@ use crate::cart::Cart;\n \n-/// The sum of a cart.\n-pub fn total(cart: &Cart) -> f64 {\n-    cart.lines.iter().map(|line| line.price * line.count as f64).sum()\n+/// The sum of a cart, in minor units. Exact: a refund gives back what was paid.\n+pub fn total(cart: &Cart) -> Minor {\n+    cart.lines.iter().map(|line| line.price * line.count).sum()\n }\n' } },
  { type: 'tool_done', id: 't3', output: 'ok', is_error: false },
  { type: 'tool_started', tool: { id: 't4', name: 'Bash', kind: 'execute', title: 'cargo test -p cart', input: { command: 'cargo test -p cart', description: 'Test the cart alone' } } },
  { type: 'tool_done', id: 't4', output: '   Compiling cart v0.1.0\n\u001b[32mtest total::is_exact ... ok\u001b[0m\n\u001b[31mtest total::of_an_empty_cart ... FAILED\u001b[0m\n\ntest result: FAILED. 11 passed; 1 failed\n', is_error: true, exit_code: 101 },
  { type: 'message', id: 'm2', text: 'One test expects `0.0`. It is about the type, not the value:\n\n```rust\n#[test]\nfn of_an_empty_cart() {\n    assert_eq!(total(&Cart::default()), Minor(0));\n}\n```\n\n| place | was | is |\n|---|---|---|\n| `total.rs` | `f64` | `Minor` |\n| `order/mod.rs` | `f64` | still to do |' },
  { type: 'usage', usage: { input_tokens: 84_000, cached_tokens: 79_000, output_tokens: 2100, cost_micro_usd: 1_840_000, context_used: 84_000, context_size: 200_000 } },
  { type: 'turn_ended', turn: 3, end: { type: 'done' } },
  { type: 'input', input: uid(208), text: '[message 018f0000 from docs@shop; to answer: agentmux reply 018f0000 -m TEXT]\nThe refund page of the handbook is drafted.' },
  { type: 'turn_started', turn: 4, trigger: 'input' },
  { type: 'retry', attempt: 2, max: 10, reason: 'overloaded' },
  { type: 'message', id: 'm3', text: 'Now the order itself.' },
  { type: 'tool_started', tool: { id: 't5', name: 'Task', kind: 'delegate', title: 'find callers of Order::total', input: { description: 'find callers of Order::total', prompt: 'Find every caller of Order::total and say which of them format money.', subagent_type: 'scout', model: 'haiku-5' } } },
  { type: 'tool_started', tool: { id: 't6', name: 'Grep', kind: 'search', title: '\\.total\\(\\)', input: {}, parent: 't5' } },
  { type: 'tool_done', id: 't6', output: '14 matches', is_error: false },
  { type: 'message', id: 'm4', text: '14 callers, 3 of them format money.', parent: 't5' },
  { type: 'tool_done', id: 't5', output: '14 callers, 3 of them format money.\nagentId: a01 (use SendMessage)\n<usage>subagent_tokens: 18400\ntool_uses: 6\nduration_ms: 9300</usage>', is_error: false },
  { type: 'tool_started', tool: { id: 't8', name: 'TodoWrite', kind: 'think', title: 'TodoWrite', input: { todos: [{ content: 'Amounts in minor units', status: 'completed' }, { content: 'Endpoint for refunds', status: 'in_progress' }, { content: 'Form and list', status: 'pending' }] } } },
  { type: 'tool_done', id: 't8', output: 'ok', is_error: false },
  { type: 'tool_started', tool: { id: 't9', name: 'mcp__ledger__lookup', kind: 'mcp', title: 'mcp__ledger__lookup', input: { order: 'A-1042', fields: ['paid', 'currency'] } } },
  { type: 'tool_done', id: 't9', output: '{"order":"A-1042","paid":{"minor":129900,"currency":"EUR"},"lines":[{"sku":"k-1","count":2},{"sku":"k-7","count":1}]}', is_error: false },
  { type: 'tool_started', tool: { id: 't10', name: 'WebFetch', kind: 'fetch', title: 'https://docs.example.org/refunds', input: { url: 'https://docs.example.org/refunds', prompt: 'Which fields does a refund have?' } } },
  { type: 'tool_done', id: 't10', output: 'A refund has an order, an amount in minor units, a currency and one of five reasons.', is_error: false },
  { type: 'tool_started', tool: { id: 't7', name: 'Bash', kind: 'execute', title: 'cargo check --workspace', input: {} } },
  { type: 'tool_output', id: 't7', text: '    Checking money v0.1.0\n    Checking cart v0.1.0\n    Checking order v0.1.0\n' },
];
export const entries = items.map((item, n) => ({ n: n + 1, i: 0, offset: n * 100, at: at(640 - n * 18), item }));

const frame = (n, way, s, value, more = {}) => ({ way, at: s === null ? undefined : at(s), text: typeof value === 'string' ? value : JSON.stringify(value), end: n, place: `${n}.0.0.0`, ...more });
const frames = [
  frame(11, 'told', 640, { type: 'user', message: { role: 'user', content: [{ type: 'text', text: 'Refunds need to be in by Thursday. Split it between api and web, and keep me posted.' }] }, session_id: '6a1f0f6e' }),
  frame(12, 'said', 640, { type: 'system', subtype: 'init', session_id: '6a1f0f6e', cwd: '/home/mira/shop', tools: ['Bash', 'Edit', 'Read', 'Grep', 'Task'], model: 'opus-5' }),
  frame(13, 'said', null, { type: 'stream_event', event: { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'The cart keeps totals as floats in one place.' } } }),
  frame(14, 'said', null, 'warning: \u202eevil\u202c \u001b[31mnot JSON\u001b[0m', { gone: 5120 }),
  frame(15, 'said', 610, { type: 'control_request', request_id: 'r1', request: { subtype: 'can_use_tool', tool_name: 'Bash', input: { command: 'cargo check --workspace' } } }),
  frame(16, 'told', 600, { type: 'control_response', response: { subtype: 'success', request_id: 'r1', response: { behavior: 'allow' } } }),
  frame(17, 'said', 590, `{"type":"user","message":{"content":"${'x'.repeat(900)}`, { bytes: 2_400_000 }),
  frame(18, 'told', 580, { type: 'user', message: { role: 'user', content: [{ type: 'text', text: 'Also add a test for partial refunds' }] } }, { doubt: 'begun' }),
];

export const screen =
  '\u001b[?25h$ cargo nextest run\r\n\u001b[32;1m    Finished\u001b[0m test profile in 3.1s\r\n    Starting 212 tests across 14 binaries\r\n' +
  Array.from({ length: 14 }, (_, i) => `\u001b[32;1m        PASS\u001b[0m [   0.${String(12 + i * 7).padStart(3, '0')}s] \u001b[35;1mcart\u001b[0m \u001b[36mtotal::case_${i}\u001b[0m\r\n`).join('') +
  '\u001b[31;1m        FAIL\u001b[0m [   0.311s] \u001b[35;1mcart\u001b[0m \u001b[36mtotal::of_an_empty_cart\u001b[0m\r\n\u001b[38;2;255;140;0mtruecolour\u001b[0m \u001b[44;97m box \u001b[0m\r\n$ ';

const event = (seq, type, data, actor = 'system') => ({ epoch: uid(1), seq, at: at(400 - seq), actor, cause: null, cmd_id: uid(7), topic: type.split('.')[0], type, data });
export const events = Array.from({ length: 60 }, (_, i) => [event(i * 3 + 1, 'turn.started', { agent: uid(1 + (i % 5)), run: 3, turn: i, trigger: 'input' }), event(i * 3 + 2, 'message.staged', { message: uid(201), stage: { type: 'begun' }, evidence: 'turn 3' }), event(i * 3 + 3, 'request.decided', { request: uid(101), by: 'operator' }, 'operator')]).flat();

const TEAM_TEXT = '# who builds the shop\n[team]\nname = "shop"\n\n[[agent]]\nname = "lead"\nkind = "claude"\nmodel = "opus"\nrole = "plans the work and reviews it"\n\n[[agent]]\nname = "api"\nkind = "codex"\ncwd = "services/api"\nworktree = true\nstart_after = ["lead"]\n';
const field = (key, takes, about, of = 'all') => ({ key, takes, of, about });
const teamFile = {
  path: '/home/mira/shop/agentmux.toml',
  there: TEAM_TEXT.replace('model = "opus"\n', ''),
  problems: [],
  plan: {
    team: 'shop',
    make_team: null,
    steps: [
      { agent: 'lead', what: 'redefine and restart', why: ['model: none -> opus'], after: [], does_something: true, ends_a_run: true, run: { argv: ['claude', '--input-format', 'stream-json', '--output-format', 'stream-json', '--model', 'opus'], cwd: '/home/mira/shop', env: ['PORT'], worktree: false }, prepare: [], start: { cmd: 'agent.restart', args: {} } },
      { agent: 'api', what: 'keep', why: [], after: ['lead'], does_something: false, ends_a_run: false, run: null, prepare: [], start: null },
      { agent: 'docs', what: 'leave', why: ['the file does not name it'], after: [], does_something: false, ends_a_run: false, run: null, prepare: [], start: null },
    ],
  },
  fields: {
    agent: [field('name', 'text', 'how it is addressed'), field('kind', 'kind', 'what is run'), field('command', 'words', 'the program and its arguments', 'command'), field('args', 'words', 'arguments to the program'), field('cwd', 'path', 'where it works, from this file’s folder'), field('worktree', 'flag', 'in a git worktree and on a branch of its own'), field('role', 'text', 'what it is there for'), field('groups', 'words', 'addresses it shares with others'), field('model', 'text', 'in the word of the CLI', 'protocol'), field('start', 'flag', ''), field('start_after', 'agents', '')],
    mail: [field('paused', 'flag', '')],
  },
};

/** A server in a page: answers every question of the interface. `put` changes rows on every page; `more`: what an agent said last. */
export function mock({ more = () => [] } = {}) {
  const open = new Set();
  const asked = [];
  let seq = 1000;
  const answer = (name, args = {}) =>
    ({
      status: { profile: 'default', pid: 311, launcher_pid: 290, version: '0.3.0', started: at(186_400), epoch: uid(1), head_seq: 180, agents: 10, web_url: 'http://127.0.0.1:7700', socket: '/run/user/1000/agentmux/srv.sock', state_dir: '/home/mira/.local/state/agentmux/default', mode: 'read_write' },
      doctor: [{ check: 'store', level: 'ok', message: 'base and log give the projections', hint: null }, { check: 'codex', level: 'warning', message: 'version 0.41 is older than what was tested', hint: 'npm install -g @openai/codex' }, { check: 'socket', level: 'ok', message: 'answers in 1 ms', hint: null }, { check: 'qwen', level: 'failure', message: 'the program is not found', hint: 'npm install -g @qwen-code/qwen-code' }],
      diag: args.topic === 'store' ? { bytes: 48e6, wal_bytes: 2e6, free_bytes: 91e9 } : args.topic === 'connections' ? { now: 3, total: 41 } : [{ name: 'lock', duration_us: 400, policy: 'fatal', error: null }, { name: 'store', duration_us: 21_000, policy: 'fatal', error: null }, { name: 'runs', duration_us: 9_000, policy: 'degraded', error: null }],
      sessions: [{ id: 'a', made: at(90000), used: at(4), until: at(-900000), agent: 'Firefox on Linux' }, { id: 'b', made: at(9000), used: at(3600), until: at(-900000), agent: 'Chrome on Android' }],
      processes: { agent: 'x', processes: [{ pid: 4001, command: 'claude --input-format stream-json', rss_bytes: 412e6, cpu_ms: 91000 }, { pid: 4011, command: 'cargo check', rss_bytes: 122e6, cpu_ms: 4000 }], rss_bytes: 534e6, cpu_ms: 95000 },
      agent: { definition: { kind: 'claude', argv: [], cwd: '/home/mira/shop', env: {}, size: { rows: 24, cols: 80 }, worktree: false }, evidence: [{ fact: 'wanted: run 3', source: 'command', at: at(900) }, { fact: 'run 3: process 4001 runs', source: 'process', at: at(900) }, { fact: 'Edit src/cart/total.rs', source: 'agent', at: at(64) }] },
      frames: args.after ? { agent: 'x', run: 3, frames: [], next: args.after } : { agent: 'x', run: 3, frames, from: '1.1.1.1', next: '99.0.0.0' },
      transcript: { agent: 'x', run: 3, entries: args.before === undefined && args.after === undefined ? entries : [], from: 0, next: entries.length * 100 },
      look: { agent: 'tests@shop', run: 3, rows: 24, cols: 80, lines: screen.split('\r\n'), cursor: { row: 18, col: 2 }, title: null },
      team_file: args.text === undefined ? { ...teamFile, there: TEAM_TEXT } : teamFile,
      preview: { argv: ['claude', '--input-format', 'stream-json', '--output-format', 'stream-json', '--session-id', '<new id>', '--mcp-config', '<our tools>'] },
      inbox: [],
      thread: [],
    })[name] ?? {};
  return {
    asked,
    put(list) {
      const after = seq;
      seq += 1;
      for (const socket of open) socket.say({ id: socket.watch, rows: { seq, after, reset: false, rows: list } });
    },
    serve(ws) {
      const socket = { watch: 0, say: (frame) => ws.send(JSON.stringify(frame)) };
      ws.onMessage((data) => {
        if (typeof data !== 'string') return;
        const frame = JSON.parse(data);
        asked.push(frame);
        if (frame.hello) socket.say({ welcome: { protocol: 1, principal: 'operator', epoch: uid(1), head: 180, version: '0.3.0' } });
        else if (frame.watch) {
          socket.watch = frame.id;
          open.add(socket);
          socket.say({ id: frame.id, rows: { seq, after: null, reset: true, rows: rows() } });
        } else if (frame.follow) socket.say({ id: frame.id, entries: { agent: frame.follow.agent, run: 3, from: 0, next: entries.length * 100, reset: true, entries: frame.follow.agent === uid(5) ? [] : [...entries, ...more(frame.follow.agent)] } });
        else if (frame.view) {
          socket.say({ id: frame.id, screen: { agent: 'tests@shop', run: 3, rows: frame.view.rows ?? 24, cols: frame.view.cols ?? 80, offset: 0, bytes: '' } });
          const bytes = Buffer.from(screen);
          const head = Buffer.alloc(13);
          head[0] = 1;
          head.writeUInt32BE(frame.id, 1);
          ws.send(Buffer.concat([head, bytes]));
        } else if (frame.sub) for (const one of events) socket.say({ sub: frame.id, event: one });
        else if (frame.get) socket.say({ id: frame.id, ok: answer(frame.get, frame.args) });
        else if (frame.cmd) socket.say({ id: frame.id, ok: {}, seq });
      });
      ws.onClose(() => open.delete(socket));
    },
  };
}
export { uid };

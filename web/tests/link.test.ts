import { describe, expect, it } from 'vitest';
import { Link, Refused, uuid, type Doors, type LinkState } from '../src/feed/link';

/** A server in the test's hands: every carrier that was opened, and a clock that goes when told. */
function world(known: 'yes' | 'no' | 'unreachable' = 'yes') {
  const carriers: { sent: Record<string, unknown>[]; say(frame: object): void; bytes(b: Uint8Array): void; break(): void }[] = [];
  let timers: { at: number; then(): void }[] = [];
  let now = 0;
  const knows = { known };
  const doors: Doors = {
    open(on) {
      const sent: Record<string, unknown>[] = [];
      carriers.push({ sent, say: (frame) => on.text(JSON.stringify(frame)), bytes: (b) => on.bytes(b), break: () => on.closed() });
      return { send: (data) => void sent.push(typeof data === 'string' ? JSON.parse(data) : { bytes: data }), close: () => undefined };
    },
    signedIn: () => Promise.resolve(knows.known),
    after(ms, then) {
      const timer = { at: now + ms, then };
      timers.push(timer);
      return () => (timers = timers.filter((other) => other !== timer));
    },
    now: () => now,
  };
  const pass = async (ms: number) => {
    now += ms;
    const due = timers.filter((timer) => timer.at <= now);
    timers = timers.filter((timer) => timer.at > now);
    for (const timer of due) timer.then();
    for (let i = 0; i < 5; i += 1) await Promise.resolve();
  };
  const states: LinkState[] = [];
  const link = new Link(doors, (state) => states.push(state));
  const greet = () => carriers.at(-1)!.say({ welcome: { protocol: 1, principal: 'operator', epoch: 'e', head: 1, version: '1' } });
  return { carriers, pass, link, states, greet, knows };
}

describe('the link', () => {
  it('says hello first and nothing before the welcome', async () => {
    const { carriers, link, pass, greet } = world();
    link.start();
    void link.get('status');
    await pass(0);
    expect(carriers[0]!.sent.map((frame) => Object.keys(frame)[0])).toEqual(['hello']);
    greet();
    expect(carriers[0]!.sent[1]).toMatchObject({ get: 'status' });
  });

  it('comes back for ever, opens its streams again and repeats a command under the same id', async () => {
    const { carriers, link, pass, greet, states } = world();
    link.start();
    await pass(0);
    greet();
    link.stream({ open: () => ({ watch: {} }), frame: () => undefined });
    const done = link.cmd('agent.stop', { agent: 'a' });
    const first = carriers[0]!.sent.find((frame) => frame.cmd);
    carriers[0]!.break();
    expect(states.at(-1)).toMatchObject({ is: 'waiting', attempt: 1 });
    await pass(200);
    greet();
    const again = carriers[1]!.sent;
    expect(again.some((frame) => frame.watch)).toBe(true);
    const second = again.find((frame) => frame.cmd)!;
    expect(second.cmd_id).toBe(first!.cmd_id);
    carriers[1]!.say({ id: second.id, ok: { stopped: true } });
    await expect(done).resolves.toEqual({ stopped: true });
  });

  it('ends a stream with a frame that has an id of its own, as every frame that is answered', async () => {
    const { carriers, link, pass, greet } = world();
    link.start();
    await pass(0);
    greet();
    const stream = link.stream({ open: () => ({ watch: {} }), frame: () => undefined });
    const was = stream.id;
    stream.again();
    expect(carriers[0]!.sent.at(-2)).toEqual({ id: expect.any(Number), unsub: was });
    expect(stream.id).not.toBe(was);
    stream.end();
    expect(carriers[0]!.sent.at(-1)).toEqual({ id: expect.any(Number), unsub: stream.id });
  });

  it('asks the person to sign in only when the server says so', async () => {
    const { carriers, link, pass, states, knows } = world('unreachable');
    link.start();
    await pass(0);
    carriers[0]!.break();
    await pass(200);
    expect(states.at(-1)!.is).toBe('waiting');
    knows.known = 'no';
    await pass(10_000);
    expect(states.at(-1)!.is).toBe('signed_out');
  });

  it('tries again when its hello is refused', async () => {
    const { carriers, link, pass, greet, states } = world();
    link.start();
    await pass(0);
    carriers[0]!.say({ error: { code: 'hello_required', message: 'the first frame is {"hello":{"protocol":1}}' } });
    expect(states.at(-1)).toMatchObject({ is: 'waiting', attempt: 1 });
    await pass(200);
    greet();
    expect(states.at(-1)!.is).toBe('open');
  });

  it('tries again where nobody answers, however long the carrier stays', async () => {
    const { carriers, link, pass, greet, states } = world();
    link.start();
    await pass(0);
    await pass(20_000);
    expect(states.at(-1)).toMatchObject({ is: 'waiting', attempt: 1 });
    await pass(200);
    expect(carriers.length).toBe(2);
    greet();
    await pass(20_000);
    expect(states.at(-1)!.is).toBe('open');
  });

  it('asks who is silent, and leaves who does not answer', async () => {
    const { carriers, link, pass, greet, states } = world();
    link.start();
    await pass(0);
    greet();
    const asked = () => carriers[0]!.sent.filter((frame) => frame.get === 'status');
    await pass(30_000);
    expect(asked().length).toBe(1);
    carriers[0]!.say({ id: asked()[0]!.id, ok: {} });
    await pass(20_000);
    expect(states.at(-1)!.is).toBe('open');
    await pass(10_000);
    await pass(30_000);
    expect(states.at(-1)).toMatchObject({ is: 'waiting', since: 30_000 });
  });

  it('hands a refusal with its code to whoever asked', async () => {
    const { carriers, link, pass, greet } = world();
    link.start();
    await pass(0);
    greet();
    const asked = link.get('agent', { agent: 'x' });
    carriers[0]!.say({ id: carriers[0]!.sent[1]!.id, error: { code: 'not_found', message: 'no such agent: x' } });
    await expect(asked).rejects.toSatisfy((error) => error instanceof Refused && error.failure.code === 'not_found');
  });

  it('hands binary frames to their view with their offset', async () => {
    const { carriers, link, pass, greet } = world();
    link.start();
    await pass(0);
    greet();
    const got: unknown[] = [];
    const view = link.stream({ open: () => ({ view: {} }), frame: () => undefined, bytes: (kind, offset, bytes) => got.push([kind, offset, [...bytes]]) });
    const frame = new Uint8Array(15);
    frame[0] = 2;
    new DataView(frame.buffer).setUint32(1, view.id);
    new DataView(frame.buffer).setUint32(9, 70);
    frame.set([104, 105], 13);
    carriers[0]!.bytes(frame);
    expect(got).toEqual([[2, 70, [104, 105]]]);
  });
});

describe('an id', () => {
  it('is a version 7 UUID, and a later one is greater', () => {
    const made = [1, 255, 256, 1_700_000_000_000, 1_700_000_000_001].map((now) => uuid(now));
    for (const id of made) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect([...made].sort()).toEqual(made);
    expect(Number.parseInt(made[3]!.replaceAll('-', '').slice(0, 12), 16)).toBe(1_700_000_000_000);
    expect(uuid()).not.toBe(uuid());
  });
});

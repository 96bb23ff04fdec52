import { describe, expect, it } from 'vitest';
import { addAgent, dropAgent, fieldAt, fresh, meanwhile, putAgent, putTeam, putUnder, read, under, valueOf, words } from '../src/feed/teamfile';

const TEXT = `# of the shop
[team]
name = "shop" # short

[[agent]]
name = 'lead'
kind = "claude"
args = [
  "--verbose", # loud
]
env = { PORT = "80", "a.b" = "c" }
[agent.mail]
paused = true
wakes_per_hour = 1_000

# who builds
[[agent]]
name = "build"
kind = "cmd"
start = false
`;

describe('a team file as a form', () => {
  it('is read as it is written', () => {
    const { team, agents } = read(TEXT)!;
    expect(valueOf(team, 'name')).toBe('shop');
    expect(agents.map((agent) => valueOf(agent, 'name'))).toEqual(['lead', 'build']);
    expect(valueOf(agents[0], 'args')).toEqual(['--verbose']);
    expect(under(agents[0]!, 'env')).toEqual({ PORT: '80', 'a.b': 'c' });
    expect(under(agents[0]!, 'mail')).toEqual({ paused: true, wakes_per_hour: 1000 });
    expect(valueOf(agents[1], 'start')).toBe(false);
  });

  it('keeps comments, order and everything that was not changed', () => {
    const changed = putUnder(putUnder(putAgent(putAgent(putTeam(TEXT, 'store'), 0, 'kind', 'codex'), 1, 'groups', ['a', 'b "c"']), 0, 'mail', 'boundary', '5s'), 0, 'env', 'PORT', undefined);
    expect(changed).toBe(
      TEXT.replace('"shop"', '"store"')
        .replace('"claude"', '"codex"')
        .replace('{ PORT = "80", "a.b" = "c" }', '{ "a.b" = "c" }')
        .replace('1_000\n', '1_000\nboundary = "5s"\n')
        .replace('start = false\n', 'start = false\ngroups = ["a", "b \\"c\\""]\n'),
    );
  });

  it('takes away what is said no more, and whole agents', () => {
    expect(putAgent(TEXT, 1, 'start', undefined)).toBe(TEXT.replace('start = false\n', ''));
    const one = dropAgent(TEXT, 0);
    expect(read(one)!.agents.map((agent) => valueOf(agent, 'name'))).toEqual(['build']);
    expect(one).toContain('# who builds\n[[agent]]');
    expect(one).not.toContain('wakes');
  });

  it('begins with what is needed and grows', () => {
    const text = addAgent(fresh('shop', 'claude'), 'api', 'codex');
    expect(text).toBe('[team]\nname = "shop"\n\n[[agent]]\nname = "lead"\nkind = "claude"\n\n[[agent]]\nname = "api"\nkind = "codex"\n');
    expect(putAgent('[[agent]]\nname = "a"', 0, 'kind', 'x')).toBe('[[agent]]\nname = "a"\nkind = "x"\n');
    expect(putTeam('[[agent]]\n', 'x')).toBe('[team]\nname = "x"\n\n[[agent]]\n');
  });

  it('leaves alone what it does not understand', () => {
    for (const strange of ['agent = [{ name = "a" }]\n', '[team]\nname = \n', '[[agent]]\nname = "a\n', '[other]\n', '[team]\n[[agent]]\nargs = ["a"\n']) {
      expect(read(strange), strange).toBeNull();
      expect(putTeam(strange, 'x')).toBe(strange);
    }
    expect(valueOf(read('[[agent]]\nrole = """a\nb"""\nname = "n"\n')!.agents[0], 'name')).toBe('n');
  });

  it('knows of what a line speaks', () => {
    const found = read(TEXT)!;
    const at = (line: number) => fieldAt(TEXT, found, line);
    expect([at(3), at(7), at(9), at(14), at(15), at(17), at(19)]).toEqual([
      { agent: -1, key: 'name' },
      { agent: 0, key: 'kind' },
      { agent: 0, key: 'args' },
      { agent: 0, key: 'mail.wakes_per_hour' },
      null,
      { agent: 1, key: '' },
      { agent: 1, key: 'kind' },
    ]);
  });

  it('splits words as a shell would', () => {
    expect(words(`a 'b c' "d \\" e"`)).toEqual(['a', 'b c', 'd " e']);
  });
});

it('never writes over what somebody else wrote: untouched words follow the disk, touched ones are asked about', () => {
  const [old, mine, theirs] = ['old', 'mine', 'theirs'];
  expect(meanwhile(old, old, old, mine)).toBe('same');
  expect(meanwhile(theirs, old, old, old)).toBe('take');
  expect(meanwhile(theirs, old, old, mine)).toBe('ask');
  expect(meanwhile(mine, old, old, mine)).toBe('take');
  // A file that was made or removed meanwhile.
  expect(meanwhile(theirs, null, 'fresh', 'fresh')).toBe('take');
  expect(meanwhile(theirs, null, 'fresh', mine)).toBe('ask');
  expect(meanwhile(null, old, old, old)).toBe('ask');
});

// Plans of teams as they are carried out: each team's goes on, and says how it ended, whatever view is on the screen.

import { SvelteMap } from 'svelte/reactivity';
import type { Order, TeamPlan } from '../views/answers';
import { Refused } from './link';
import { advance, isDone, START_PATIENCE_MS, type Stage } from './starts';
import { store } from './store.svelte';

const order = (one: Order) => store.wire.cmd<{ run?: number }>(one.cmd, one.args);
const why = (error: unknown) => (error instanceof Refused ? [error.failure.message, error.failure.hint].filter(Boolean).join('. ') : String(error));

class Going {
  stages = $state.raw<ReadonlyMap<string, Stage>>(new Map());
  isOver = $state(false);
  private readonly ordered = new Set<string>();

  constructor(readonly plan: TeamPlan) {}

  /** An agent is what it is to be before it runs. */
  async prepare(): Promise<void> {
    if (this.plan.make_team) {
      await order(this.plan.make_team).catch((error: unknown) => {
        // Somebody was faster; the team is there.
        if (!(error instanceof Refused && error.failure.code === 'exists')) throw error;
      });
    }
    const stages = new Map<string, Stage>();
    for (const step of this.plan.steps) {
      try {
        for (const one of step.prepare) await order(one);
        if (step.start) stages.set(step.agent, { is: 'waiting', after: step.after });
      } catch (error) {
        stages.set(step.agent, { is: 'failed', why: why(error) });
      }
    }
    this.stages = stages;
  }

  /** As far as it can go by what is seen of its agents. */
  go(): void {
    const { plan } = this;
    const by = new Map(store.agents.map((agent) => [`${agent.name}@${agent.team}`, agent]));
    const step = advance(this.stages, (agent) => by.get(`${agent}@${plan.team}`), store.now);
    for (const agent of step.due) {
      if (this.ordered.has(agent)) continue;
      this.ordered.add(agent);
      const put = (stage: Stage) => {
        this.ordered.delete(agent);
        this.stages = new Map(this.stages).set(agent, stage);
      };
      const start = plan.steps.find((one) => one.agent === agent)!.start!;
      order(start).then((answer) => put({ is: 'begun', run: answer?.run ?? 0, until: Date.now() + START_PATIENCE_MS }), (error: unknown) => put({ is: 'failed', why: why(error) }));
    }
    if ([...step.stages].some(([agent, stage]) => this.stages.get(agent) !== stage)) this.stages = step.stages;
    if (!isDone(step.stages)) return;
    this.isOver = true;
    const failed = [...step.stages].filter(([, stage]) => stage.is === 'failed').map(([agent]) => agent);
    if (failed.length) store.say(`${failed.length} of ${plan.steps.length} did not work: ${failed.join(', ')}`, 'bad');
    else store.say(`Team ${plan.team} is as the file says`);
  }
}

const all = new SvelteMap<string, Going>();

export const starts = {
  of: (team: string): Going | undefined => all.get(team),
  /** Ends when every agent has its order; the starts go on. */
  async carry(plan: TeamPlan): Promise<void> {
    const going = new Going(plan);
    all.set(plan.team, going);
    try {
      await going.prepare();
    } catch (error) {
      all.delete(plan.team);
      throw error;
    }
    const end = $effect.root(() => {
      $effect(() => {
        if (going.isOver) end();
        else going.go();
      });
    });
  },
  /** What ended was read. */
  forget(): void {
    for (const [team, going] of all) if (going.isOver) all.delete(team);
  },
};

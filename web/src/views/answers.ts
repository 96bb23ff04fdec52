// Answers of the server to questions, as this interface reads them.
import type { Commands, Definition, Epoch } from '../proto';

export type AgentDetail = { definition: Definition; evidence: { fact: string; source: string; at: string }[] };
export type Processes = { processes: { pid: number; command: string; rss_bytes: number; cpu_ms: number }[]; rss_bytes: number; cpu_ms: number };
export type Finding = { check: string; level: 'ok' | 'unknown' | 'warning' | 'failure'; message: string; hint: string | null };
export type BootStage = { name: string; duration_us: number; policy: 'fatal' | 'degraded'; error: string | null };
export type Status = { profile: string; pid: number; launcher_pid: number | null; version: string; started: string; epoch: Epoch; head_seq: number; agents: number; web_url: string; socket: string; state_dir: string; mode: string };
export type Session = { id: string; made?: string; created?: string; used?: string; last_used?: string; agent?: string; user_agent?: string | null; current?: boolean };

export type Order = { cmd: keyof Commands; args: Record<string, unknown> };
export type TeamStep = {
  agent: string;
  what: string;
  why: string[];
  after: string[];
  does_something: boolean;
  ends_a_run: boolean;
  /** How it will be run; `null` where that stays as it is. */
  run: { argv: string[]; cwd: string; env: string[]; worktree: boolean } | null;
  prepare: Order[];
  start: Order | null;
};
export type TeamPlan = { team: string; make_team: Order | null; steps: TeamStep[] };
export type TeamField = { key: string; takes: 'text' | 'kind' | 'path' | 'words' | 'agents' | 'flag' | 'number' | 'duration' | 'while_working' | 'env' | 'mail'; of: 'all' | 'command' | 'protocol'; about: string };
export type TeamFile = { path: string; there: string | null; problems: { line: number; words: string }[]; plan: TeamPlan | null; fields: { agent: TeamField[]; mail: TeamField[] } };

// Answers of the server to questions, as this interface reads them.
import type { Definition, Epoch } from '../proto';

export type AgentDetail = { definition: Definition; evidence: { fact: string; source: string; at: string }[] };
export type Processes = { processes: { pid: number; command: string; rss_bytes: number; cpu_ms: number }[]; rss_bytes: number; cpu_ms: number };
export type Finding = { check: string; level: 'ok' | 'unknown' | 'warning' | 'failure'; message: string; hint: string | null };
export type BootStage = { name: string; duration_us: number; policy: 'fatal' | 'degraded'; error: string | null };
export type Status = { profile: string; pid: number; launcher_pid: number | null; version: string; started: string; epoch: Epoch; head_seq: number; agents: number; web_url: string; socket: string; state_dir: string; mode: string };
export type Session = { id: string; made?: string; created?: string; used?: string; last_used?: string; agent?: string; user_agent?: string | null; current?: boolean };

/** What the service answers, as far as the page reads it; see api/schemas.py. */

export type Status = "accepted" | "running" | "successful" | "failed" | "dismissed";

export interface Link {
  href: string;
  rel: string;
  type?: string | null;
  title?: string | null;
}

export interface SentFile {
  name: string;
  bytes: number;
}

export interface Problem {
  title: string;
  status: number;
  detail: string;
}

/** How far a running job is. */
export interface Step {
  stage: "assessing" | "writing" | "mapping" | "adapting" | "suggesting";
  scene: string;
  number: number;
  scenes: number;
  units_done: number;
  units_total: number;
  seconds_left: number | null;
}

/** What a successful assessment says of itself; see api/assess_result.py. */
export interface AssessResult {
  counts?: { units: number; damaged: number; undamaged: number; uncertain: number; not_judged: Record<string, number> };
  headline?: string;
  sentence?: string;
  licence?: string;
  non_commercial?: boolean;
  ranking_only?: boolean;
  trust?: Record<string, string>;
  warnings?: string[];
  files?: string[];
  scenes?: SceneResult[];
  failures?: { name: string; sentence: string }[];
  /** Of an adaptation: whose labels, and what they changed. */
  assessment?: string;
  name?: string;
  base?: string;
  why?: string;
  labels?: { used: number; fitted: number; aside: number; aside_random: number };
  aside?: Comparison;
  notes?: string[];
}

/** The labels kept aside, scored before and after an adaptation. */
export interface Comparison {
  before: Record<string, Estimate | number | null>;
  after: Record<string, Estimate | number | null>;
  note: string;
}

export interface Estimate {
  value: number | null;
  low: number | null;
  high: number | null;
}

export interface SceneResult {
  stem: string;
  name: string;
  bounds?: [number, number, number, number] | null;
  acquired?: string | null;
  files?: string[];
}

export interface Job {
  jobID: string;
  processID: "assess" | "adapt" | "suggest";
  status: Status;
  progress: number;
  message: string;
  created: string;
  started: string | null;
  finished: string | null;
  updated: string;
  step: Step | null;
  model: string;
  options: Record<string, unknown>;
  inputs: Record<string, SentFile[]>;
  result: AssessResult | null;
  problem: Problem | null;
  links: Link[];
}

export interface JobPage {
  jobs: Job[];
  links: Link[];
}

/** A bundle that may be chosen. */
export interface Model {
  name: string;
  headline: string;
  sentence: string;
  licence: string;
  /** What its licence forbids; empty where nothing is known to. */
  warning: string;
  activation: string;
  inputs: string[];
}

/** `summary.json` of one scene, as far as the page reads it. */
export interface Summary {
  headline: string;
  sentence: string;
  ranking_only: boolean;
  trust: Record<string, string>;
  counts: { units: number; empty_cells: number; not_judged: Record<string, number> };
  meanings: Record<string, string>;
  reasons: Record<string, string>;
  clouds: string;
  window: string;
  licences: { model: string; training_data: string; non_commercial: boolean };
  kind: "building" | "cell";
  scene: { acquired: string | null; crs: string | null };
  pre: unknown;
  model: { name: string; threshold: number; uncertain_band: [number, number] };
  warnings: string[];
}

export interface UnitLabel {
  unit_id: string;
  label: "damaged" | "undamaged" | null;
  drawn?: "random" | "chosen";
  rank?: number | null;
  round?: number | null;
}

/** All labels of an assessment; see api/labels.py. */
export interface Labels {
  labels: UnitLabel[];
  counts: { damaged: number; undamaged: number; open: number; random: number; needed: number };
  rounds: number;
}

/** Whether a job still changes by itself. */
export function isWaiting(job: Job): boolean {
  return job.status === "accepted" || job.status === "running";
}

/** What a second assessment of the same units says otherwise; see api/changes.py. */
export interface Changes {
  against: string;
  model: string;
  model_against: string;
  compared: number;
  changed: number;
  flows: { before: string; after: string; count: number }[];
  units: { unit_id: string; before: Said; after: Said }[];
}

export interface Said {
  label: string;
  p_damaged: number | null;
}

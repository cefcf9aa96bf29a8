/** From probability to verdict, as damagenet/rules.py does it; words and colours as in the report. */

export type Verdict = "damaged" | "uncertain" | "undamaged" | "not-judged";

/** In the order of a legend; the place in it is a unit's code. */
export const VERDICTS: readonly Verdict[] = ["damaged", "uncertain", "undamaged", "not-judged"];

export const DAMAGED = 0;
export const UNCERTAIN = 1;
export const UNDAMAGED = 2;
export const NOT_JUDGED = 3;

export const COLOURS: Record<Verdict, string> = {
  damaged: "#d1361b",
  uncertain: "#f2b134",
  undamaged: "#1b8a7a",
  "not-judged": "#8a8f98",
};

/** Colours of P(damaged) from 0 to 1. */
export const RAMP: readonly (readonly [number, string])[] = [
  [0, "#1b8a7a"],
  [0.25, "#a9cfc4"],
  [0.5, "#f6e8c3"],
  [0.75, "#eb8a5a"],
  [1, "#d1361b"],
];

/** Where verdicts change. */
export interface Rule {
  threshold: number;
  /** Probabilities strictly inside are uncertain; empty where equal. */
  band: readonly [number, number];
}

/** Return the rule at another threshold: the band of doubt says nothing beyond its own ends. */
export function ruleAt(own: Rule, threshold: number | null): Rule {
  if (threshold === null || threshold === own.threshold) return own;
  const [low, high] = own.band;
  return { threshold, band: low <= threshold && threshold <= high ? own.band : [threshold, threshold] };
}

/** Return the code of the verdict on a probability; NaN was not judged. */
export function verdictCode(p: number, rule: Rule): number {
  if (Number.isNaN(p)) return NOT_JUDGED;
  if (p > rule.band[0] && p < rule.band[1]) return UNCERTAIN;
  return p >= rule.threshold ? DAMAGED : UNDAMAGED;
}

/** Return a verdict in words, as in the report. */
export function inWords(verdict: Verdict, rankingOnly = false): string {
  return verdict === "damaged" && rankingOnly ? "flagged damaged" : verdict.replace("-", " ");
}

/** Return the log odds of a probability, finite also for 0 and 1. */
export function logit(p: number): number {
  const inside = Math.min(1 - 1e-9, Math.max(1e-9, p));
  return Math.log(inside / (1 - inside));
}

/** Labels that the reader gives on a result: kept by the service, shown at once. */

import { computed, signal } from "@preact/signals";
import type { Result } from "./results/result";
import type { Job, Labels, UnitLabel } from "./service/answers";
import { isWaiting } from "./service/answers";
import { follow } from "./service/following";
import { Refusal, ask, sentenceOf, withJson } from "./service/requests";

export type Answered = "damaged" | "undamaged" | null;

/** What of the model an adaptation may change: its last layer, or what an inner test finds best. */
export type Learn = "head" | "best";

export class Labelling {
  /** Whether the service takes labels at all. */
  readonly available = signal(false);
  /** Label mode: clicks and the keys D, U and X give labels. */
  readonly on = signal(false);
  readonly answer = signal<Labels | null>(null);
  readonly trouble = signal("");
  /** The work that suggests units, while it is under way. */
  readonly suggesting = signal<Job | null>(null);

  readonly byUnit = computed(() => {
    const rows = (this.answer.value?.labels ?? []).map((row) => [this.result.row(row.unit_id), row] as const);
    return new Map<number, UnitLabel>(rows.filter(([unit]) => unit >= 0));
  });
  /** Suggested units without an answer, in the order in which they are best labelled. */
  readonly asked = computed(() =>
    [...this.byUnit.value]
      .filter(([, row]) => row.label === null && row.rank != null)
      .sort(([, one], [, other]) => (other.round ?? 0) - (one.round ?? 0) || one.rank! - other.rank!)
      .map(([unit]) => unit),
  );
  /** What the map marks: labels, and in label mode what is asked for. */
  readonly marks = computed(() => {
    const marks = new Map<number, string>();
    for (const [unit, row] of this.byUnit.value) {
      if (row.label) marks.set(unit, row.label);
      else if (this.on.value) marks.set(unit, "asked");
    }
    return marks;
  });
  private sending: Promise<void> = Promise.resolve();

  constructor(private readonly result: Result) {}

  async read(): Promise<void> {
    try {
      this.answer.value = await ask<Labels>(this.result.address("labels"));
      this.available.value = true;
    } catch (error) {
      const absent = error instanceof Refusal && (error.status === 404 || error.status === 405);
      if (!absent) this.trouble.value = sentenceOf(error);
    }
  }

  /** Label a unit, or take its label back; the page shows it before the service has answered. */
  say(unit: number, label: Answered): void {
    const unit_id = this.result.units.value!.ids[unit]!;
    const before = this.answer.value!;
    const rows = before.labels.filter((row) => row.unit_id !== unit_id);
    const row = before.labels.find((one) => one.unit_id === unit_id) ?? { unit_id, label: null };
    this.answer.value = { ...before, labels: [...rows, { ...row, label }] };
    this.sending = this.sending.then(() => this.keep([{ unit_id, label }]));
  }

  private async keep(said: UnitLabel[]): Promise<void> {
    try {
      this.answer.value = await ask<Labels>(this.result.address("labels"), withJson("POST", said));
      this.trouble.value = "";
    } catch (error) {
      this.trouble.value = sentenceOf(error);
      await this.read();
    }
  }

  /** Ask for units that are worth labelling next. */
  async suggest(n: number): Promise<void> {
    try {
      const job = await ask<Job>(this.result.address("suggest"), withJson("POST", { n }));
      this.suggesting.value = job;
      const last = await ended(job, (status) => (this.suggesting.value = status));
      this.trouble.value = last.status === "failed" ? (last.problem?.detail ?? last.message) : "";
      await this.read();
      this.on.value = true;
    } catch (error) {
      this.trouble.value = sentenceOf(error);
    }
    this.suggesting.value = null;
  }

  /** Begin to adapt the model to the labels; returns the job. */
  async adapt(name: string, learn: Learn): Promise<Job> {
    await this.sending;
    return ask<Job>(this.result.address("adapt"), withJson("POST", { name, learn }));
  }
}

/** Wait until a job is over. */
function ended(job: Job, onStatus: (job: Job) => void): Promise<Job> {
  if (!isWaiting(job)) return Promise.resolve(job);
  return new Promise((resolve, reject) => {
    follow(job.jobID, {
      onStatus: (status) => {
        onStatus(status);
        if (!isWaiting(status)) resolve(status);
      },
      onTrouble: reject,
    });
  });
}

/** One finished assessment as the page knows it: what was read, and what follows from choices. */

import { computed, signal } from "@preact/signals";
import type { Job, Summary } from "../service/answers";
import { ask, jobAddress, sentenceOf } from "../service/requests";
import { place } from "../state";
import { Reader } from "./reading";
import type { Units } from "./units";
import { chosen, shown, sorted, tally, verdicts } from "./units";
import { VERDICTS, ruleAt } from "./verdicts";
import type { Rule } from "./verdicts";

const UNITS_FILE = "damage.geojson";
const PLACELESS = "The picture has no coordinates, so it cannot be laid on a map. The report shows it with its verdicts.";

const area = computed(() => place.value.area);
const scene = computed(() => place.value.scene);
const threshold = computed(() => place.value.threshold);
const order = computed(() => place.value.order);
const hidden = computed(() => place.value.hidden);
const unit = computed(() => place.value.unit);

export class Result {
  readonly reader = new Reader();
  readonly units = signal<Units | null>(null);
  readonly summary = signal<Summary | null>(null);
  /** Why there is no map; empty while there may be one. */
  readonly trouble = signal("");

  /** The model's own rule, as this assessment used it. */
  readonly own = computed<Rule>(() => {
    const model = this.summary.value?.model;
    return { threshold: model?.threshold ?? 0.5, band: model?.uncertain_band ?? [0.5, 0.5] };
  });
  /** The reader's rule, or null for the verdicts in the files. */
  readonly rule = computed(() => (threshold.value === null ? null : ruleAt(this.own.value, threshold.value)));
  readonly codes = computed(() => {
    const units = this.units.value;
    return units ? verdicts(units, this.rule.value) : new Uint8Array();
  });
  readonly members = computed(() => {
    const units = this.units.value;
    if (!units) return new Uint32Array();
    const number = scene.value === null ? -1 : units.scenes.indexOf(scene.value);
    return chosen(units, { area: area.value, scene: number < 0 ? null : number });
  });
  readonly tally = computed(() => tally(this.codes.value, this.members.value));
  readonly sorted = computed(() => {
    const units = this.units.value;
    const middle = order.value === "doubt" ? (this.rule.value ?? this.own.value).threshold : 0.5;
    return units ? sorted(units, this.members.value, order.value, middle) : new Uint32Array();
  });
  readonly listed = computed(() => {
    const codes = new Set(hidden.value.map((verdict) => VERDICTS.indexOf(verdict)));
    return shown(this.sorted.value, this.codes.value, codes);
  });
  private readonly rows = computed(() => new Map((this.units.value?.ids ?? []).map((id, row) => [id, row])));
  /** Number of the selected unit, -1 without one. */
  readonly selected = computed(() => (unit.value === null ? -1 : (this.rows.value.get(unit.value) ?? -1)));

  constructor(readonly job: Job) {}

  get stems(): string[] {
    return (this.job.inputs.image ?? []).map((file) => file.name.replace(/\.[^.]+$/, ""));
  }

  address(rest: string): string {
    return jobAddress(this.job.jobID, rest);
  }

  row(id: string): number {
    return this.rows.value.get(id) ?? -1;
  }

  /** Read summary and units; what is missing is said in `trouble`. */
  async read(): Promise<void> {
    const files = this.job.result?.files;
    const placeless = files !== undefined && !files.includes(UNITS_FILE);
    const units = placeless ? null : this.reader.read(this.address(`results/${UNITS_FILE}`));
    units?.catch(() => undefined);
    this.summary.value = await this.readSummary();
    if (placeless) this.trouble.value = PLACELESS;
    try {
      this.units.value = await units;
    } catch (error) {
      this.trouble.value = `The map could not be read: ${sentenceOf(error)}. The files below may still hold it.`;
    }
  }

  /** The summary of the one scene; of several, of the first: model and words are the same for all. */
  private async readSummary(): Promise<Summary | null> {
    const scenes = this.job.result?.scenes ?? [];
    const path = scenes.length > 1 ? `results/scenes/${encodeURIComponent(scenes[0]!.stem)}/summary.json` : "results/summary.json";
    try {
      return await ask<Summary>(this.address(path));
    } catch {
      // Words and counts of the job itself have to do.
      return null;
    }
  }

  close(): void {
    this.reader.close();
  }
}

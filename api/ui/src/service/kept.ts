/** Files sent in this visit, so that the same scenes can be assessed again with another model. */

import type { Role } from "./sending";

const kept = new Map<string, Record<Role, File[]>>();

export function keepFiles(job: string, files: Record<Role, File[]>): void {
  kept.set(job, files);
}

export function keptFiles(job: string): Record<Role, File[]> | null {
  return kept.get(job) ?? null;
}

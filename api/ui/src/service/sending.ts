/** Send scenes: small files in one request, large ones in parts that survive a broken line. */

import type { Job } from "./answers";
import { address, refusal, Refusal } from "./requests";
import { sendInParts } from "./parts";

export type Role = "image" | "pre" | "buildings" | "exclude";

export const ROLES: readonly Role[] = ["image", "pre", "buildings", "exclude"];

/** From this size on a file goes in parts. */
export const LARGE_BYTES = 64 * 2 ** 20;

export interface Sending {
  files: Record<Role, File[]>;
  options: Record<string, string>;
  /** Makes a second try of the same request harmless. */
  key: string;
}

export interface Watcher {
  signal: AbortSignal;
  onProgress: (sent: number, total: number) => void;
}

/** Return how many bytes the files of a request have. */
export function totalBytes(files: Record<Role, File[]>): number {
  return ROLES.reduce((sum, role) => sum + files[role].reduce((some, file) => some + file.size, 0), 0);
}

/** Send files and options, and return the job that they became. */
export async function sendAssessment(sending: Sending, watcher: Watcher): Promise<Job> {
  const total = totalBytes(sending.files);
  let before = 0;
  const uploads: Partial<Record<Role, string[]>> = {};
  const form = new FormData();
  for (const role of ROLES) {
    for (const file of sending.files[role]) {
      if (file.size < LARGE_BYTES) {
        form.append(role, file, file.name);
        continue;
      }
      const start = before;
      const id = await sendInParts(file, watcher.signal, (sent) => watcher.onProgress(start + sent, total));
      before += file.size;
      (uploads[role] ??= []).push(id);
    }
  }
  if (Object.keys(uploads).length) form.append("uploads", JSON.stringify(uploads));
  for (const [name, value] of Object.entries(sending.options)) form.append(name, value);
  return post(form, sending.key, { ...watcher, onProgress: (sent) => watcher.onProgress(Math.min(total, before + sent), total) });
}

/** `fetch` tells nothing of a request that is under way; XMLHttpRequest does. */
function post(form: FormData, key: string, watcher: Watcher): Promise<Job> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address("v1/assessments"));
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => watcher.onProgress(event.loaded, event.total);
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText) as Job);
      else reject(refusal(request.status, request.responseText));
    };
    request.onerror = () => reject(new Refusal(0, "The line broke while sending: try again."));
    request.onabort = () => reject(new DOMException("stopped by you", "AbortError"));
    watcher.signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Return 128 random bits in hexadecimal. */
export function randomId(): string {
  // crypto.randomUUID exists only over https and on localhost.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

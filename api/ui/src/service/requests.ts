/** Requests to the service: addresses relative to the page, refusals as one sentence. */

import { signal } from "@preact/signals";
import { asSentence } from "../words";

/** True after an answer 401, until a key is accepted. */
export const needsKey = signal(false);

/** An answer that is no success; its message is the service's own sentence. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    sentence: string,
  ) {
    super(sentence);
  }
}

/** Return the full address of a path such as `v1/models`. */
export function address(path: string): string {
  return new URL(`../${path}`, new URL("./", document.baseURI)).href;
}

/** Return the address of something that belongs to a job. */
export function jobAddress(job: string, rest = ""): string {
  return address(`v1/assessments/${job}${rest && `/${rest}`}`);
}

/** Send a request and return the answer, or raise the Refusal that it holds. */
export async function send(url: string, init: RequestInit = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refusal(0, "The service does not answer: check that it runs, then try again.");
  }
  if (!answer.ok) throw await refusal(answer.status, await answer.text());
  return answer;
}

/** Send a request and return the JSON of its answer. */
export async function ask<T>(url: string, init: RequestInit = {}): Promise<T> {
  return (await (await send(url, init)).json()) as T;
}

/** Return a request that carries JSON. */
export function withJson(method: string, body: unknown): RequestInit {
  return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

/** Return what an answer refuses, in the service's words where it gave any. */
export function refusal(status: number, text: string): Refusal {
  if (status === 401) needsKey.value = true;
  let sentence = `the service answered ${status}`;
  try {
    const problem = JSON.parse(text) as { detail?: unknown };
    if (typeof problem.detail === "string" && problem.detail) sentence = problem.detail;
  } catch {
    // Not every proxy speaks JSON; the number has to do.
  }
  return new Refusal(status, sentence);
}

/** Return an error as one sentence for a person. */
export function sentenceOf(error: unknown): string {
  return asSentence(error instanceof Error ? error.message : String(error));
}

/** Who asks: whether the service wants a key, and the session that a key opens. */

import { signal } from "@preact/signals";
import { Refusal, address, ask, needsKey, send } from "./requests";

interface Session {
  keys_required: boolean;
  key: string | null;
}

/** Null until the service has said. */
export const session = signal<Session | null>(null);

/** Ask whether a key is needed, before anything else is asked. */
export async function readSession(): Promise<void> {
  session.value = await ask<Session>(address("v1/session"));
  needsKey.value = session.value.keys_required && session.value.key === null;
}

/** Open a session with a key, which goes no further than this request. */
export async function openSession(key: string): Promise<void> {
  if (!/^[\x21-\x7e]+$/.test(key)) throw new Refusal(0, "A key holds letters, digits, - and _ only.");
  session.value = await ask<Session>(address("v1/session"), { method: "POST", headers: { "X-API-Key": key } });
  needsKey.value = false;
}

export async function closeSession(): Promise<void> {
  await send(address("v1/session"), { method: "DELETE" });
  await readSession();
}

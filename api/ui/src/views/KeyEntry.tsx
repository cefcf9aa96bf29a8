/** Asks for an API key where the service wants one; the browser then holds a session cookie. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { sentenceOf } from "../service/requests";
import { openSession } from "../service/session";

export function KeyEntry(): JSX.Element {
  const [trouble, setTrouble] = useState("");
  const [busy, setBusy] = useState(false);

  async function enter(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const key = String(new FormData(event.target as HTMLFormElement).get("key")).trim();
    setBusy(true);
    try {
      await openSession(key);
    } catch (error) {
      setTrouble(sentenceOf(error));
    }
    setBusy(false);
  }

  return (
    <form class="card narrow" onSubmit={(event) => void enter(event)}>
      <h1>This service asks for a key</h1>
      <p>Whoever runs it makes one with <code>damagenet keys add NAME</code>.</p>
      <label class="field">
        API key
        <input name="key" type="password" autocomplete="current-password" required aria-describedby="key-trouble" />
      </label>
      <p id="key-trouble" class="trouble" role="alert">{trouble}</p>
      <button class="main" disabled={busy}>Enter</button>
    </form>
  );
}

/** One large file in parts: what is there already is not sent again, also after a reload. */

import { address, ask, refusal, Refusal, send, withJson } from "./requests";

const PART_BYTES = 8 * 2 ** 20;
const TRIES = 6;

interface Upload {
  id: string;
  offset: number;
  bytes: number;
  complete: boolean;
}

/** Send a file in parts and return the id of the finished upload. */
export async function sendInParts(file: File, signal: AbortSignal, onSent: (bytes: number) => void): Promise<string> {
  const upload = (await begun(file)) ?? (await begin(file));
  let offset = upload.offset;
  onSent(offset);
  while (offset < file.size) {
    offset = await part(upload.id, file, offset, signal);
    onSent(offset);
  }
  if (!upload.complete) await send(address(`v1/uploads/${upload.id}/finish`), withJson("POST", {}));
  forget(file);
  return upload.id;
}

/** Send one part and return the offset after it; a broken line is waited for. */
async function part(id: string, file: File, offset: number, signal: AbortSignal): Promise<number> {
  const end = Math.min(file.size, offset + PART_BYTES);
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await fetch(address(`v1/uploads/${id}`), {
        method: "PUT",
        credentials: "same-origin",
        headers: {
          "Content-Range": `bytes ${offset}-${end - 1}/${file.size}`,
          "Content-Type": "application/octet-stream",
        },
        body: file.slice(offset, end),
        signal,
      });
      if (answer.ok) return ((await answer.json()) as Upload).offset;
      // The service knows better how much has arrived.
      if (answer.status === 409) return (await ask<Upload>(address(`v1/uploads/${id}`))).offset;
      if (answer.status < 500 && answer.status !== 429) throw refusal(answer.status, await answer.text());
    } catch (error) {
      if (error instanceof Refusal && error.status) throw error;
      if (error instanceof DOMException && error.name === "AbortError") throw error;
    }
    if (attempt === TRIES) {
      throw new Refusal(0, `Sending ${file.name} broke off: choose it again to go on where it stopped.`);
    }
    await new Promise((wake) => window.setTimeout(wake, 500 * 2 ** attempt));
  }
}

async function begin(file: File): Promise<Upload> {
  const upload = await ask<Upload>(
    address("v1/uploads"),
    withJson("POST", { name: file.name, bytes: file.size }),
  );
  window.localStorage.setItem(memory(file), upload.id);
  return upload;
}

/** Return the upload of the same file that an earlier visit began, if the service still has it. */
async function begun(file: File): Promise<Upload | null> {
  const id = window.localStorage.getItem(memory(file));
  if (!id) return null;
  try {
    const upload = await ask<Upload>(address(`v1/uploads/${id}`));
    return upload.bytes === file.size ? upload : null;
  } catch {
    forget(file);
    return null;
  }
}

function forget(file: File): void {
  window.localStorage.removeItem(memory(file));
}

function memory(file: File): string {
  return `upload:${file.name}:${file.size}:${file.lastModified}`;
}

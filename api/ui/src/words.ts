/** Numbers, times and sizes in words. */

const COUNT = new Intl.NumberFormat("en-GB");

export function count(value: number): string {
  return COUNT.format(value);
}

export function percent(part: number, whole: number): string {
  return whole ? `${((100 * part) / whole).toFixed(part && part < whole / 10 ? 1 : 0)} %` : "";
}

export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${value >= 100 || at === 0 ? value.toFixed(0) : value.toFixed(1)} ${units[at]}`;
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

export function moment(iso: string | null): string {
  if (!iso) return "";
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? iso : `${time.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** Return one word or its plural with a number before it. */
export function many(value: number, word: string): string {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}

/** Return the part of a sentence before its colon or its first comma: what fits on a badge. */
export function headOf(sentence: string): string {
  return sentence.split(/[:;,.](?:\s|$)/, 1)[0] ?? sentence;
}

/** Return a text that begins as a sentence does; a name with an underscore or a dot stays as it is. */
export function asSentence(text: string): string {
  const first = text.split(" ", 1)[0] ?? "";
  return /[_.\d]/.test(first) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

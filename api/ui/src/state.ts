/** Where the page is: one signal, kept in step with the address. */

import { signal } from "@preact/signals";
import { NOWHERE, read, written } from "./address";
import type { Place } from "./address";

export const place = signal<Place>(read(window.location.hash));

/** Said to screen readers, and to nobody else. */
export const announcement = signal("");

/** Change what is looked at, without a step in the browser's history. */
export function look(changes: Partial<Place>): void {
  place.value = { ...place.value, ...changes };
  window.history.replaceState(null, "", written(place.value));
}

/** Go to another page, with a step in the history. */
export function go(to: Partial<Place>): void {
  place.value = { ...NOWHERE, ...to };
  window.history.pushState(null, "", written(place.value));
  window.scrollTo(0, 0);
}

window.addEventListener("popstate", () => {
  place.value = read(window.location.hash);
});
window.addEventListener("hashchange", () => {
  place.value = read(window.location.hash);
});

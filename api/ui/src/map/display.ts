/** How strongly the units are drawn: taste, no part of the address. */

import { signal } from "@preact/signals";

export const opacity = signal(0.7);
export const unitsShown = signal(true);
/** What a drawing in progress asks of the reader; empty where none is. */
export const drawingHint = signal("");

/** Light or dark: as the system says, or as the reader chose. */

import { signal } from "@preact/signals";

export type Theme = "light" | "dark";

const KEY = "theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

export const theme = signal<Theme>("light");

/** Follow the system until the reader chooses. */
export function startTheme(): void {
  const show = (): void => {
    const kept = window.localStorage.getItem(KEY);
    theme.value = kept === "light" || kept === "dark" ? kept : dark.matches ? "dark" : "light";
    document.documentElement.dataset.theme = theme.value;
  };
  dark.addEventListener("change", show);
  show();
}

export function toggleTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  window.localStorage.setItem(KEY, theme.value);
  document.documentElement.dataset.theme = theme.value;
}

/** Whether the reader asked for little movement. */
export function calm(): boolean {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}

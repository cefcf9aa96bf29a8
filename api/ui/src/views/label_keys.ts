/** The keys of label mode, anywhere on the page but in fields. */

import { useEffect, useRef } from "preact/hooks";
import type { Answered, Labelling } from "../labelling";
import type { Result } from "../results/result";
import { announcement } from "../state";

const KEYS: Record<string, Answered> = { d: "damaged", u: "undamaged", x: null };

/** Label the selected unit by D, U or X, then call `onLabelled`. */
export function useLabelKeys(result: Result, labelling: Labelling, onLabelled: () => void): void {
  const after = useRef(onLabelled);
  after.current = onLabelled;
  useEffect(() => {
    function press(event: KeyboardEvent): void {
      const name = event.key.toLowerCase();
      const typing = event.target instanceof HTMLElement && event.target.closest("input:not([type=checkbox]):not([type=radio]):not([type=range]), select, textarea");
      if (!labelling.on.value || typing || !(name in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
      const unit = result.selected.value;
      if (unit < 0) return;
      event.preventDefault();
      const label = KEYS[name]!;
      announcement.value = `${result.units.value!.ids[unit]}: ${label ?? "no label"}`;
      // The next one is found before the list changes under it.
      after.current();
      labelling.say(unit, label);
    }
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [result, labelling]);
}

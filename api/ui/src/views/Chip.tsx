/** The picture of one unit, asked for when it comes into sight. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Result } from "../results/result";

interface Picture {
  result: Result;
  id: string;
  side: number;
  before?: boolean;
  /** Said to who cannot see it; without it the picture is decoration. */
  alt?: string;
}

export function Chip({ result, id, side, before = false, alt = "" }: Picture): JSX.Element {
  const [absent, setAbsent] = useState("");
  const pixels = Math.min(512, Math.ceil(side * window.devicePixelRatio));
  const address = result.address(`chips/${encodeURIComponent(id)}.png?size=${pixels}${before ? "&picture=pre" : ""}`);
  if (absent === address) return <span class="chip absent" style={{ width: `${side}px`, height: `${side}px` }} role={alt ? "note" : undefined}>{side > 100 ? "no picture" : ""}</span>;
  return <img class="chip" src={address} width={side} height={side} alt={alt} loading="lazy" decoding="async" onError={() => setAbsent(address)} />;
}

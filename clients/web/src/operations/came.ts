// How a person came to a form: from another page of the console, to which Run leads back, or by an address.
import type { Location } from "react-router";

/** What an entry of the history keeps that took the place of another one. */
export interface Came {
  /** Whether the entry in whose place it is was the first of the console. */
  isFirst: boolean;
}

/** Whether the console has no page before this one; an entry of the history has a key of its own once the console made it. */
export function isFirstPage({ key, state }: Location): boolean {
  return key === "default" || (state as Came | null)?.isFirst === true;
}

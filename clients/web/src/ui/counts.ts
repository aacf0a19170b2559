// A count before its noun, as people say it: "1 event", "12 events".

/** A count with its noun; `plural` where that is more than an s. */
export function countOf(count: number | bigint, noun: string, plural = `${noun}s`): string {
  return `${count} ${Number(count) === 1 ? noun : plural}`;
}

/** How much of a long list is here, for the line below it. */
export function hereWords(count: number, noun: string, complete: boolean): string {
  const here = `${countOf(count, noun)} ${count === 1 ? "is" : "are"} here`;
  if (!complete) return `${here}; more come as you scroll.`;
  return count === 1 ? `${here}; there are no more.` : `All ${here}.`;
}

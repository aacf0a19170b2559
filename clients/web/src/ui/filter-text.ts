// Texts inside AIP-160 filters.

/** A text as a filter's string, whatever is in it. */
export function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, (sign) => `\\${sign}`)}"`;
}

// The text of a serial log: bytes as they come, without the control sequences of terminals, kept to the last lines.

/** What is kept for showing; the whole log can be downloaded. */
export const MOST_LINES = 5000;

// CSI and OSC sequences and single escapes, as terminals take them (ECMA-48), and other control characters but tabs.
const CONTROLS = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])|[\u0000-\u0008\u000b-\u001f\u007f]/g;
// The beginning of a sequence whose end has not come yet.
const BEGUN = /\u001b(?:\[[0-?]*[ -/]*|\][^\u0007\u001b]*)?$/;

/** Takes bytes and gives lines; a character or sequence that is cut in two is put together. */
export class SerialText {
  private decoder = new TextDecoder();
  private rest = "";
  private lines: string[] = [""];
  private dropped = 0;

  /** Adds what came next. */
  add(bytes: Uint8Array): void {
    const text = this.rest + this.decoder.decode(bytes, { stream: true });
    const begun = BEGUN.exec(text)?.[0] ?? "";
    // What does not end for long is no sequence.
    const kept = begun.length < 256 ? begun : "";
    this.rest = kept;
    const parts = text.slice(0, text.length - kept.length).split("\n");
    parts.forEach((part, index) => {
      const plain = part.replace(CONTROLS, "");
      if (index === 0) this.lines[this.lines.length - 1] += plain;
      else this.lines.push(plain);
    });
    const over = this.lines.length - MOST_LINES;
    if (over > 0) {
      this.lines.splice(0, over);
      this.dropped += over;
    }
  }

  /** The lines that are kept, the last one perhaps unfinished, and how many came before them. */
  read(): { lines: readonly string[]; dropped: number } {
    return { lines: [...this.lines], dropped: this.dropped };
  }
}

/** The numbers of the lines that have a text, whatever the case of its letters. */
export function linesWith(lines: readonly string[], text: string): number[] {
  const wanted = text.toLowerCase();
  if (!wanted) return [];
  return lines.flatMap((line, index) => (line.toLowerCase().includes(wanted) ? [index] : []));
}

/** A line cut at a text, so that every second part is what was looked for. */
export function cutAt(line: string, text: string): string[] {
  if (!text) return [line];
  const parts: string[] = [];
  const [small, wanted] = [line.toLowerCase(), text.toLowerCase()];
  let begin = 0;
  for (let at = small.indexOf(wanted); at >= 0; at = small.indexOf(wanted, begin)) {
    parts.push(line.slice(begin, at), line.slice(at, at + text.length));
    begin = at + text.length;
  }
  return [...parts, line.slice(begin)];
}

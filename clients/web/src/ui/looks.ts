// How states look everywhere: a word, and a sign in one of a few tones; never by colour alone.

export type Tone = "quiet" | "active" | "good" | "caution" | "bad" | "undo";
export type Sign = "dot" | "lock" | "run" | "undo" | "check" | "cross" | "stop" | "alert" | "skip" | "info" | "question";

/** How a state looks. */
export interface Look {
  /** The word for it, in small letters. */
  word: string;
  tone: Tone;
  sign: Sign;
}

const LIGHT_DARK: Record<Tone, [string, string]> = {
  quiet: ["gray-6", "gray-5"],
  active: ["blue-7", "blue-4"],
  good: ["green-8", "green-5"],
  caution: ["orange-8", "yellow-5"],
  bad: ["red-8", "red-5"],
  undo: ["grape-7", "grape-4"],
};

/** The CSS colour of a tone in both themes. */
export function colourOf(tone: Tone): string {
  const [light, dark] = LIGHT_DARK[tone];
  return `light-dark(var(--mantine-color-${light}), var(--mantine-color-${dark}))`;
}

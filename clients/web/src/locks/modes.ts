// What the modes of locks say, in words.
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";

const WORDS: Partial<Record<LockMode, string>> = {
  [LockMode.IS]: "shared locks below",
  [LockMode.IX]: "exclusive locks below",
  [LockMode.S]: "shared",
  [LockMode.SIX]: "shared, with exclusive locks below",
  [LockMode.X]: "exclusive",
};

/** A mode with its meaning, as "X, exclusive". */
export function modeWords(mode: LockMode): string {
  return WORDS[mode] ? `${LockMode[mode]}, ${WORDS[mode]}` : "unknown";
}

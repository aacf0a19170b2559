// The objects that a reference may name: asked of the server by what was typed, a page at most.
import { reflect, type ReflectList, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { useDebouncedValue } from "@mantine/hooks";
import { useEffect, useState } from "react";
import { callUnary } from "../operations/call";
import { quoted } from "../ui/filter-text";
import type { Catalogue } from "./catalogue";
import { optionsOf } from "./options";
import { shortName, valueLabel } from "./words";

/** An object that can be picked. */
export interface Candidate {
  name: string;
  /** What people call it, and the state that it is in. */
  about: string;
}

/** What the server has found. */
export interface Found {
  candidates: readonly Candidate[];
  /** Whether there may be more than what is shown. */
  more: boolean;
  loading: boolean;
}

const PAGE = 50;
const LOADING: Found = { candidates: [], more: false, loading: true };
const NOTHING: Found = { candidates: [], more: false, loading: false };

/** Finds objects of a type whose name or display name has what was typed; asks only while it is wanted. */
export function useReferences(catalogue: Catalogue, type: string, typed: string, wanted: boolean): Found {
  const wording = typed.trim();
  const [text] = useDebouncedValue(wording, 200);
  const [answer, setAnswer] = useState<{ text: string; found: Found }>();
  useEffect(() => {
    if (!wanted) return undefined;
    const abort = new AbortController();
    find(catalogue, type, text, abort.signal).then(
      (found) => setAnswer({ text, found }),
      () => {
        // What cannot be listed can still be typed.
        if (!abort.signal.aborted) setAnswer({ text, found: NOTHING });
      },
    );
    return () => abort.abort();
  }, [catalogue, type, text, wanted]);
  // What was found for other words is not offered any more: the row that is chosen in a list is counted, and in another
  // list the same row is another object.
  return answer?.text === wording ? answer.found : LOADING;
}

async function find(catalogue: Catalogue, type: string, text: string, signal: AbortSignal): Promise<Found> {
  const known = catalogue.resource(type);
  if (!known?.list) return NOTHING;
  const request = reflect(known.list.input);
  set(request, "filter", text ? quoted(text) : "");
  set(request, "page_size", PAGE);
  const answer = reflect(known.list.output, await callUnary(known.list, request.message, signal));
  const items = known.list.output.fields.find((field) => field.fieldKind === "list" && field.message === known.message)!;
  const candidates = [...(answer.get(items) as ReflectList<ReflectMessage>)].map(candidateOf);
  const token = known.list.output.fields.find((field) => field.name === "next_page_token");
  return { candidates, more: token !== undefined && answer.get(token) !== "", loading: false };
}

function set(message: ReflectMessage, name: string, value: string | number): void {
  const field = message.desc.fields.find((known) => known.name === name);
  if (field) message.set(field, value);
}

/** The name, and what its columns say that the name does not: the display name and the state. */
function candidateOf(message: ReflectMessage): Candidate {
  const name = String(value(message, "name"));
  const shown = [value(message, "display_name")];
  const state = message.desc.fields.find((field) => field.name === "state");
  if (state?.fieldKind === "enum" && optionsOf(state).hint.column) {
    const values = state.enum.values;
    const now = values.find((known) => known.number === message.get(state));
    if (now && now.number !== 0) shown.push(valueLabel(now.name, values[0]!.name).toLowerCase());
  }
  return { name, about: shown.filter((text) => text && text !== shortName(name)).join(", ") };
}

function value(message: ReflectMessage, name: string): string {
  const field = message.desc.fields.find((known) => known.name === name);
  return field ? String(message.get(field)) : "";
}

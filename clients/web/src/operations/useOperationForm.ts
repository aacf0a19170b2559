// The state of one operation's form: its draft, what is wrong with it, and the id under which it is asked for.
import type { Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { useCallback, useMemo, useState } from "react";
import { build, changesBetween, type Errors } from "../forms/build";
import type { Catalogue, OperationType } from "../forms/catalogue";
import type { FormState } from "../forms/context";
import { draftOf, emptyFields, pathText, withAt, type Draft, type Fields, type Path } from "../forms/draft";
import { placeViolations, prefilled } from "../forms/places";
import { changedField, specOf, type FieldSpec } from "../forms/spec";
import type { Problem } from "../ui/problem";
import { asBefore } from "./earlier";

/** A form and what can be done with it. */
export interface OperationForm {
  specs: readonly FieldSpec[];
  state: FormState;
  /** The request, if nothing is wrong with it as far as can be told here; otherwise the form shows what is. */
  request: (validateOnly: boolean) => Message | undefined;
  /** Shows what the server refused at its fields, and returns the rest. */
  refuse: (problem: Problem) => Problem;
  /** Whether it changes an object and nothing of that is different yet. */
  unchanged: boolean;
  /** Takes another id, for another operation. */
  renew: () => void;
}

/** A form with the values of a link or of an earlier request, and of the object as it is where one is acted on. */
export function useOperationForm(
  catalogue: Catalogue,
  operation: OperationType,
  values: readonly [string, string][],
  object: Message | undefined,
  earlier?: Message,
): OperationForm {
  const desc = operation.method.input;
  const specs = specOf(catalogue, desc);
  const [initial] = useState(() => present(catalogue, operation, specs, object));
  const [draft, setDraft] = useState<Fields>(() => prefilled(specs, earlier ? asBefore(catalogue, desc, specs, initial, earlier) : initial, values));
  const [errors, setErrors] = useState<Errors>({});
  const [requestId, setRequestId] = useState(newId);
  const changed = changedField(desc);
  const changes = useMemo(() => changesBetween(desc, initial, draft), [desc, initial, draft]);
  const carrying = useMemo(
    () => ({ etag: etagOf(object), requestId, validateOnly: false, changes }),
    [object, requestId, changes],
  );
  const change = useCallback((path: Path, value: Draft) => {
    setDraft((before) => withAt(before, path, value) as Fields);
    // What was wrong there may be right now; the server has the last word.
    setErrors((before) => without(before, pathText(path)));
  }, []);
  const request = (validateOnly: boolean) => {
    const built = build(catalogue, desc, draft, { ...carrying, validateOnly });
    setErrors(built.errors);
    return Object.keys(built.errors).length === 0 ? built.message : undefined;
  };
  const refuse = (problem: Problem) => {
    const placed = placeViolations(catalogue, specs, draft, violationsOf(problem));
    setErrors(placed.errors);
    const count = Object.keys(placed.errors).length;
    return count > 0 ? { ...problem, message: wordsFor(count), fields: placed.others } : problem;
  };
  return {
    specs,
    state: { catalogue, draft, errors, carrying, change, fixed: object !== undefined, setRequestId },
    request,
    refuse,
    unchanged: changed !== undefined && changes.length === 0,
    renew: () => setRequestId(newId()),
  };
}

/** The draft of a form before anything is said: of an update, the object as it is. */
function present(catalogue: Catalogue, operation: OperationType, specs: readonly FieldSpec[], object: Message | undefined): Fields {
  const empty = emptyFields(specs);
  const changed = changedField(operation.method.input);
  const control = specs.find((spec) => spec.name === changed?.name)?.control;
  if (!object || !changed?.message || control?.kind !== "message") return empty;
  const values = draftOf(catalogue, control.fields, reflect(changed.message, object));
  return { ...empty, [changed.name]: { ...values, etag: true } };
}

/** What is wrong by field. Of an object that is not there, or not in the right state, the field that names it is a fact. */
function violationsOf({ reason, message, fields, facts }: Problem): Problem["fields"] {
  const field = facts.find(([name]) => name === "field")?.[1];
  // About an etag there is more to say than fits beside its box.
  if (fields.length > 0 || !field || reason === "ETAG_MISMATCH") return fields;
  return [{ field, description: message.replace(`${field}: `, "") }];
}

function wordsFor(wrong: number): string {
  return wrong === 1 ? "One field is to be put right; it says why." : `${wrong} fields are to be put right; each says why.`;
}

function etagOf(object: Message | undefined): string {
  return String((object as { etag?: string } | undefined)?.etag ?? "");
}

function newId(): string {
  return crypto.randomUUID();
}

function without(errors: Errors, path: string): Errors {
  const kept = Object.entries(errors).filter(([key]) => key !== path && !key.startsWith(`${path}.`) && !key.startsWith(`${path}[`));
  return kept.length === Object.keys(errors).length ? errors : Object.fromEntries(kept);
}

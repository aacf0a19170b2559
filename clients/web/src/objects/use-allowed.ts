// Which operations would be accepted on an object now, and why the others would not: each is asked for as a preview.
import { create, getOption, type DescMessage, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { Code, ConnectError } from "@connectrpc/connect";
import { useEffect, useMemo, useState } from "react";
import { ErrorInfoSchema } from "../api/google/rpc/error_details_pb";
import { field_hint } from "../api/virtyard/api/type/v1/annotations_pb";
import type { Catalogue } from "../forms/catalogue";
import { optionsOf } from "../forms/options";
import { changedField } from "../forms/spec";
import type { AnyObject } from "../live";
import { callUnary } from "../operations/call";
import { operationsOn, type ObjectOperation } from "../operations/registry";
import type { ObjectKind } from "./kinds";

/** Why an operation would be refused now, by its full name: empty if it would not be. Absent while that is being asked. */
export type Refusals = ReadonlyMap<string, string>;

const NONE: Refusals = new Map();
// A job changes an object several times in a row; its last state is the one to ask about.
const SETTLE_MS = 300;

/** The operations on an object, and what is known of whether they would be accepted. */
export function useAllowed(
  catalogue: Catalogue,
  kind: ObjectKind,
  object: AnyObject,
): { operations: readonly ObjectOperation[]; refusals: Refusals } {
  const operations = useMemo(() => operationsOn(catalogue, kind.type), [catalogue, kind]);
  const [refusals, setRefusals] = useState(NONE);
  // What a refusal can depend on of the object itself; who holds its locks only makes an operation wait.
  const version = `${object.name} ${object.uid} ${object.generation} ${object.state} ${object.etag}`;
  useEffect(() => {
    const abort = new AbortController();
    const timer = setTimeout(() => void ask(operations, object, abort.signal, setRefusals), SETTLE_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [operations, version]);
  useEffect(() => setRefusals(NONE), [object.name]);
  return { operations, refusals };
}

async function ask(
  operations: readonly ObjectOperation[],
  object: AnyObject,
  signal: AbortSignal,
  found: (refusals: Refusals) => void,
): Promise<void> {
  const acting = operations.filter(({ acts }) => acts);
  const answers = await Promise.all(acting.map((each) => whyNot(each, object, signal)));
  if (!signal.aborted) found(new Map(acting.map(({ operation }, index) => [operation.fullName, answers[index]!])));
}

/** Why an operation would be refused; empty if it would not be, or if only its form can tell. */
async function whyNot(asked: ObjectOperation, object: AnyObject, signal: AbortSignal): Promise<string> {
  const { method } = asked.operation;
  try {
    await callUnary(method, previewOf(asked, object), signal);
    return "";
  } catch (error) {
    const refused = ConnectError.from(error);
    if (signal.aborted || refused.code === Code.Unavailable || refused.code === Code.Canceled) return "";
    const invalid = refused.findDetails(ErrorInfoSchema)[0]?.reason === "INVALID_REQUEST" || refused.code === Code.InvalidArgument;
    // What is missing in the request is what the form is for.
    if (invalid && needsMore(asked)) return "";
    return refused.rawMessage.replace(/^(name|[a-z_]+\.name|[a-z_]+): /, "");
  }
}

function needsMore({ operation, field }: ObjectOperation): boolean {
  const { input } = operation.method;
  return changedField(input) !== undefined || input.fields.some((each) => each.name !== field && optionsOf(each).required);
}

/** The request that asks what would come of an operation on the object as it is; nothing is changed by it. */
export function previewOf({ operation, field }: ObjectOperation, object: AnyObject): Message {
  const { input } = operation.method;
  const request = reflect(input, create(input, { validateOnly: true } as MessageInitShape<DescMessage>));
  const changed = changedField(input);
  if (changed?.fieldKind === "message") {
    request.set(changed, reflect(changed.message, object));
    const mask = input.fields.find(({ name }) => name === "update_mask");
    if (mask?.fieldKind === "message") {
      // Nothing is to be different; what is refused then is refused whatever is to be changed.
      const paths = getOption(changed, field_hint).settable.slice(0, 1);
      request.set(mask, reflect(mask.message, create(mask.message, { paths } as MessageInitShape<DescMessage>)) as ReflectMessage);
    }
  } else request.set(input.fields.find(({ name }) => name === field)!, object.name as never);
  return request.message;
}

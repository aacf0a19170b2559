// Which operations an object allows, and why one that it does not allow would be refused: that is asked for as a preview.
import { create, getOption, type DescField, type DescMessage, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { field_hint } from "../api/virtyard/api/type/v1/annotations_pb";
import { optionsOf } from "../forms/options";
import { changedField } from "../forms/spec";
import type { AnyObject } from "../live";
import { callUnary } from "../operations/call";
import type { ObjectOperation } from "../operations/registry";
import { problemOf, type Problem } from "../ui/problem";
import type { ObjectKind } from "./kinds";

/** Whether the object's own record allows an operation that acts on it; nobody is asked for that. */
export function isAllowed({ operation }: ObjectOperation, object: AnyObject): boolean {
  return object.activity?.allowedOperations.includes(operation.fullName) ?? false;
}

/** Why an operation that the object does not allow would be refused, in a sentence. */
export async function whyNot(
  asked: ObjectOperation,
  kind: ObjectKind,
  object: AnyObject,
  signal: AbortSignal,
): Promise<string> {
  try {
    await callUnary(asked.operation.method, previewOf(asked, kind, object), signal);
    return "It would be accepted now; this page is about to hear of it.";
  } catch (error) {
    return reasonIn(problemOf(error));
  }
}

// What these say is about the object, or about who asks. Others are about what else the request has to say, and that
// is for the form.
const TELLING = new Set(["WRONG_STATE", "PERMISSION_DENIED", "NOT_FOUND"]);

function reasonIn({ reason, message, code }: Problem): string {
  if (TELLING.has(reason)) return message.replace(/^[a-z_.]+: /, "");
  if (code === "UNAVAILABLE") return `Nobody can say why: ${message}`;
  return "It cannot be done with the object as it is now.";
}

/** The request that asks what would come of an operation on the object as it is; nothing is changed by it. */
export function previewOf({ operation, field }: ObjectOperation, kind: ObjectKind, object: AnyObject): Message {
  const { input } = operation.method;
  const request = reflect(input, create(input, { validateOnly: true } as MessageInitShape<DescMessage>));
  const changed = changedField(input);
  if (changed?.fieldKind === "message") changeNothing(request, changed, object);
  else {
    standIn(request, kind, object);
    request.set(input.fields.find(({ name }) => name === field)!, object.name as never);
  }
  return request.message;
}

function changeNothing(request: ReflectMessage, changed: DescField & { fieldKind: "message" }, object: AnyObject): void {
  request.set(changed, reflect(changed.message, object));
  const mask = request.desc.fields.find(({ name }) => name === "update_mask");
  if (mask?.fieldKind !== "message") return;
  // Nothing is to be different; what is refused then is refused whatever is to be changed.
  const paths = getOption(changed, field_hint).settable.slice(0, 1);
  request.set(mask, reflect(mask.message, create(mask.message, { paths } as MessageInitShape<DescMessage>)) as ReflectMessage);
}

// What a request must say besides is looked at before the object is: a name for something new, an empty description of
// it, and of the objects, those that this one names itself.
function standIn(request: ReflectMessage, kind: ObjectKind, object: AnyObject): void {
  const shown = reflect(kind.message, object);
  for (const field of request.desc.fields) {
    const { required, reference } = optionsOf(field);
    if (!required) continue;
    if (field.fieldKind === "message") request.set(field, reflect(field.message));
    else if (field.fieldKind === "scalar" && field.name.endsWith("_id")) request.set(field, "not-yet" as never);
    else if (field.fieldKind === "scalar" && reference) {
      const naming = kind.message.fields.find((own) => own.fieldKind === "scalar" && optionsOf(own).reference === reference);
      if (naming) request.set(field, shown.get(naming) as never);
    }
  }
}

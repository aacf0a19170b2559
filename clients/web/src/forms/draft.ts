// A draft: what stands in a form, as text that may not be right yet; read from a message where there is one.
import { toJsonString, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { reflect, type ReflectList, type ReflectMap, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { anyUnpack, timestampMs, type Any, type Duration, type FieldMask, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Catalogue } from "./catalogue";
import { specOf, type Control, type FieldSpec } from "./spec";
import { writeBytes, writeSeconds } from "./quantities";

/** An item of a list; the id stays with it when it is moved. */
export interface Item {
  id: number;
  value: Draft;
}

/** A row of a map. */
export interface Pair {
  id: number;
  key: string;
  value: Draft;
}

/** The request of another operation, inside a schedule or a trigger. */
export interface Inner {
  /** The full name of the request's message; empty if none is chosen yet. */
  type: string;
  fields: Fields;
  /** A request of a type that is not known here, kept as it is. */
  unknown?: Any;
}

/** The drafts of a message's fields by their names; `?NAME` says which member of the oneof NAME is chosen. */
export interface Fields {
  [name: string]: Draft;
}

/** What stands in one widget. */
export type Draft = string | boolean | string[] | Item[] | Pair[] | Inner | Fields;

/** Where in a draft something stands: names of fields, and numbers of items. */
export type Path = readonly (string | number)[];

let lastId = 0;

/** An id for a new item or row. */
export function nextId(): number {
  lastId += 1;
  return lastId;
}

/** The draft of a form in which nothing has been said yet. */
export function emptyFields(specs: readonly FieldSpec[]): Fields {
  const fields: Fields = {};
  for (const spec of specs) {
    if (spec.control.kind === "oneof") {
      fields[`?${spec.name}`] = "";
      Object.assign(fields, emptyFields(spec.control.members));
    } else {
      fields[spec.name] = emptyDraft(spec.control, spec.presence);
    }
  }
  return fields;
}

/** The draft of a widget in which nothing has been said yet. */
export function emptyDraft(control: Control, presence = false): Draft {
  switch (control.kind) {
    case "truth":
      return presence ? "" : false;
    case "etag":
    case "preview":
      return false;
    case "references":
    case "list":
    case "map":
      return [];
    case "message":
      return emptyFields(control.fields);
    case "request":
      return { type: "", fields: {} };
    default:
      return "";
  }
}

/** What stands at a path of a draft. */
export function at(draft: Draft, path: Path): Draft {
  let found: Draft = draft;
  for (const part of path) {
    if (typeof part === "number") found = (found as (Item | Pair)[])[part]!.value;
    else found = isInner(found) ? found.fields[part]! : (found as Fields)[part]!;
  }
  return found;
}

/** The draft with another value at a path. */
export function withAt(draft: Draft, path: Path, value: Draft): Draft {
  if (path.length === 0) return value;
  const [part, ...rest] = path;
  if (typeof part === "number") {
    const items = draft as (Item | Pair)[];
    return items.map((item, index) =>
      index === part ? { ...item, value: withAt(item.value, rest, value) } : item,
    ) as Draft;
  }
  if (isInner(draft)) return { ...draft, fields: { ...draft.fields, [part!]: withAt(draft.fields[part!]!, rest, value) } };
  const fields = draft as Fields;
  return { ...fields, [part!]: withAt(fields[part!]!, rest, value) };
}

/** Whether a draft is the request of another operation. */
export function isInner(draft: Draft): draft is Inner {
  return typeof draft === "object" && !Array.isArray(draft) && typeof draft["type"] === "string" && "fields" in draft;
}

/** The path as the protos write it, as disks[1].size_bytes. */
export function pathText(path: Path): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : text ? `${text}.${part}` : part),
    "",
  );
}

/** The draft of a message that is there already. */
export function draftOf(catalogue: Catalogue, specs: readonly FieldSpec[], message: ReflectMessage): Fields {
  const fields = emptyFields(specs);
  for (const spec of specs) {
    if (spec.control.kind === "oneof") {
      for (const member of spec.control.members) {
        if (!message.isSet(fieldNamed(message.desc, member.name))) continue;
        fields[`?${spec.name}`] = member.name;
        fields[member.name] = read(catalogue, member, message);
      }
    } else if (message.isSet(fieldNamed(message.desc, spec.name))) {
      fields[spec.name] = read(catalogue, spec, message);
    }
  }
  return fields;
}

function fieldNamed(desc: DescMessage, name: string): DescField {
  return desc.fields.find((field) => field.name === name)!;
}

function read(catalogue: Catalogue, spec: FieldSpec, message: ReflectMessage): Draft {
  const field = fieldNamed(message.desc, spec.name);
  const value: unknown = message.get(field);
  const { control } = spec;
  if (control.kind === "references") return [...(value as ReflectList<string>)];
  if (control.kind === "list") {
    return [...(value as ReflectList)].map((item) => ({ id: nextId(), value: readValue(catalogue, control.item, item) }));
  }
  if (control.kind === "map") {
    const entries = [...(value as ReflectMap)].sort(([one], [other]) => (String(one) < String(other) ? -1 : 1));
    return entries.map(([key, item]) => ({
      id: nextId(),
      key: String(key),
      value: readValue(catalogue, control.value, item),
    }));
  }
  return readValue(catalogue, spec, value, field);
}

function readValue(catalogue: Catalogue, spec: FieldSpec, value: unknown, field?: DescField): Draft {
  const { control } = spec;
  switch (control.kind) {
    case "message":
      return draftOf(catalogue, control.fields, value as ReflectMessage);
    case "request":
      return innerOf(catalogue, (value as ReflectMessage).message as Any);
    case "time":
      return writeTime((value as ReflectMessage).message as Timestamp);
    case "duration": {
      const span = (value as ReflectMessage).message as Duration;
      return writeSeconds(Number(span.seconds) + span.nanos / 1e9);
    }
    case "paths":
      return ((value as ReflectMessage).message as FieldMask).paths.join(", ");
    case "json":
      return toJsonString((value as ReflectMessage).desc, (value as ReflectMessage).message);
    case "truth":
      return spec.presence ? (value ? "yes" : "no") : Boolean(value);
    case "etag":
      return true;
    case "bytes":
      return btoa(String.fromCharCode(...(value as Uint8Array)));
    default:
      return writeScalar(control, value, field);
  }
}

function writeScalar(control: Control, value: unknown, field?: DescField): string {
  const zero = typeof value === "number" ? value === 0 : value === 0n;
  if (zero && field?.presence !== 1) return "";
  if (control.kind === "size") return writeBytes(BigInt(value as bigint | number));
  if (control.kind === "span") return writeSeconds(Number(value));
  return String(value);
}

/** A point in time as a widget for local time has it, to the second. */
export function writeTime(time: Timestamp): string {
  const moment = new Date(timestampMs(time));
  const local = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

function innerOf(catalogue: Catalogue, packed: Any): Inner {
  const type = packed.typeUrl.slice(packed.typeUrl.lastIndexOf("/") + 1);
  const operation = catalogue.operationOf(type);
  const message = operation && anyUnpack(packed, catalogue.registry);
  if (!operation || !message) return { type, fields: {}, unknown: packed };
  const desc = operation.method.input;
  return { type, fields: draftOf(catalogue, specOf(catalogue, desc), reflect(desc, message)) };
}

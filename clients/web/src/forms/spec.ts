// What a form asks for: one widget for every field of a request, made from its descriptor, its options and its comment.
import { getOption, ScalarType, type DescField, type DescMessage, type DescOneof } from "@bufbuild/protobuf";
import { resource } from "../api/google/api/resource_pb";
import { Unit } from "../api/virtyard/api/type/v1/annotations_pb";
import type { Catalogue } from "./catalogue";
import { optionsOf } from "./options";
import { capitalised, humanise, nounOf, snakeCase, valueLabel } from "./words";

/** A value of an enum as a person chooses it. */
export interface Choice {
  number: number;
  label: string;
  help: string;
}

/** The widget of a field, and what it must know. */
export type Control =
  | { kind: "text"; long: boolean }
  | { kind: "reference"; type: string }
  | { kind: "references"; type: string }
  | { kind: "size" | "span" | "percent" | "number" | "duration" | "time" | "bytes" | "paths" | "truth" | "upload" }
  | { kind: "integer"; least: bigint; most: bigint }
  | { kind: "choice"; choices: readonly Choice[]; unset: string }
  | { kind: "message"; desc: DescMessage; fields: readonly FieldSpec[]; inline: boolean }
  | { kind: "list"; item: FieldSpec }
  | { kind: "map"; key: FieldSpec; value: FieldSpec }
  | { kind: "oneof"; members: readonly FieldSpec[] }
  | { kind: "request" }
  | { kind: Carried }
  | { kind: "json" };

/** What the form itself carries: the etag that was read, the id of the request, whether to preview, what was changed. */
export type Carried = "etag" | "request_id" | "preview" | "changes";

/** One field of a form. */
export interface FieldSpec {
  /** The field's name in the proto; of a oneof, its own name. */
  name: string;
  label: string;
  help: string;
  required: boolean;
  /** Whether it can be said only when the object is made. */
  immutable: boolean;
  /** Whether it is folded away, as most people never set it. */
  advanced: boolean;
  /** Whether an empty value is no value of it, as for what is set or not in its own right. */
  presence: boolean;
  control: Control;
}

interface Place {
  /** Whether the request makes a resource (AIP-133): what is made has no etag yet. */
  creating: boolean;
  /** The messages around this one, to see where one holds itself. */
  around: readonly DescMessage[];
  /** Whether a resource here is not the one that the request is about. */
  secondary: boolean;
}

/** What every object has; a form asks for it after what makes this one different. */
export const STANDARD: ReadonlySet<string> = new Set(["display_name", "labels", "description"]);
const ANY = "google.protobuf.Any";
const INT32: [bigint, bigint] = [-(1n << 31n), (1n << 31n) - 1n];
const INT64: [bigint, bigint] = [-(1n << 63n), (1n << 63n) - 1n];
const BOUNDS: Partial<Record<ScalarType, [bigint, bigint]>> = {
  [ScalarType.INT32]: INT32,
  [ScalarType.SINT32]: INT32,
  [ScalarType.SFIXED32]: INT32,
  [ScalarType.INT64]: INT64,
  [ScalarType.SINT64]: INT64,
  [ScalarType.SFIXED64]: INT64,
  [ScalarType.UINT32]: [0n, (1n << 32n) - 1n],
  [ScalarType.FIXED32]: [0n, (1n << 32n) - 1n],
  [ScalarType.UINT64]: [0n, (1n << 64n) - 1n],
  [ScalarType.FIXED64]: [0n, (1n << 64n) - 1n],
};

/** The fields of the form for a request message. */
export function specOf(catalogue: Catalogue, request: DescMessage): readonly FieldSpec[] {
  let specs = made.get(request);
  if (!specs) made.set(request, (specs = newSpec(catalogue, request)));
  return specs;
}

// A request message belongs to one catalogue: each makes its descriptors anew.
const made = new WeakMap<DescMessage, readonly FieldSpec[]>();

function newSpec(catalogue: Catalogue, request: DescMessage): readonly FieldSpec[] {
  const names = new Set(request.fields.map((field) => field.name));
  const creating = request.fields.some((field) => field.message && names.has(`${field.name}_id`));
  return fieldsOf(catalogue, request, { creating, around: [request], secondary: false });
}

/** The field of a request whose object is to be changed, with the fields that may be; undefined where it is no update. */
export function changedField(request: DescMessage): DescField | undefined {
  return request.fields.find((field) => optionsOf(field).hint.settable.length > 0);
}

function fieldsOf(catalogue: Catalogue, message: DescMessage, place: Place, only?: readonly string[]): FieldSpec[] {
  const specs: FieldSpec[] = [];
  const seen = new Set<DescOneof>();
  for (const field of message.fields) {
    if (only && !only.includes(field.name)) continue;
    if (!isAsked(field, message, place)) continue;
    if (!field.oneof) {
      specs.push(fieldOf(catalogue, field, place));
    } else if (!seen.has(field.oneof)) {
      seen.add(field.oneof);
      specs.push(oneofOf(catalogue, field.oneof, place));
    }
  }
  return specs;
}

function isAsked(field: DescField, message: DescMessage, place: Place): boolean {
  const { output, identifier } = optionsOf(field);
  if (output || identifier) return false;
  const isObject = getOption(message, resource).type !== "";
  return !(isObject && field.name === "etag" && (place.creating || place.secondary));
}

function oneofOf(catalogue: Catalogue, oneof: DescOneof, place: Place): FieldSpec {
  return {
    name: oneof.name,
    label: humanise(oneof.name),
    help: catalogue.comments.of(oneof),
    required: false,
    immutable: false,
    advanced: false,
    presence: true,
    control: { kind: "oneof", members: oneof.fields.map((field) => fieldOf(catalogue, field, place)) },
  };
}

function fieldOf(catalogue: Catalogue, field: DescField, place: Place): FieldSpec {
  const { required, immutable, hint } = optionsOf(field);
  const help = catalogue.comments.of(field);
  return {
    name: field.name,
    label: labelOf(field),
    help,
    required,
    immutable,
    advanced: hint.advanced || (place.secondary && STANDARD.has(field.name)),
    presence: field.presence === 1 && field.fieldKind !== "message",
    control: carriedOf(field) ?? controlOf(catalogue, field, place, help),
  };
}

/** The label: the field's name in words, without a unit that the value carries; an object's own field is its noun. */
function labelOf(field: DescField): string {
  const type = optionsOf(field).reference;
  if (field.name === "name" && type) return capitalised(nounOf(type));
  if (field.name === "request_id") return "Request ID";
  if (field.fieldKind === "scalar" && field.name.endsWith("_id")) return "Name";
  const unit = optionsOf(field).hint.unit;
  const ending = unit === Unit.BYTES ? /_bytes$/ : unit === Unit.SECONDS ? /_seconds$/ : /$^/;
  return humanise(field.name.replace(ending, ""));
}

function carriedOf(field: DescField): Control | undefined {
  if (field.fieldKind === "message" && field.message.typeName === "google.protobuf.FieldMask") {
    return field.name === "update_mask" ? { kind: "changes" } : { kind: "paths" };
  }
  if (field.fieldKind !== "scalar") return undefined;
  if (field.name === "request_id" && field.scalar === ScalarType.STRING) return { kind: "request_id" };
  if (field.name === "validate_only" && field.scalar === ScalarType.BOOL) return { kind: "preview" };
  if (field.name === "etag" && field.scalar === ScalarType.STRING) return { kind: "etag" };
  return undefined;
}

function controlOf(catalogue: Catalogue, field: DescField, place: Place, help: string): Control {
  switch (field.fieldKind) {
    case "scalar":
      return scalarOf(field, field.scalar, help);
    case "enum":
      return choiceOf(catalogue, field);
    case "message":
      return messageOf(catalogue, field, field.message, place);
    case "list":
      return listOf(catalogue, field, place);
    case "map":
      return mapOf(catalogue, field, place);
  }
}

function scalarOf(field: DescField, scalar: ScalarType, help: string): Control {
  const hint = optionsOf(field).hint;
  const reference = optionsOf(field).reference;
  if (hint.unit === Unit.BYTES) return { kind: "size" };
  if (hint.unit === Unit.SECONDS) return { kind: "span" };
  if (hint.unit === Unit.PERCENT) return { kind: "percent" };
  switch (scalar) {
    case ScalarType.STRING:
      if (hint.upload) return { kind: "upload" };
      return reference ? { kind: "reference", type: reference } : { kind: "text", long: field.name === "description" };
    case ScalarType.BOOL:
      return { kind: "truth" };
    case ScalarType.BYTES:
      return { kind: "bytes" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { kind: "number" };
    default: {
      const [lowest, highest] = BOUNDS[scalar]!;
      const said = /\bfrom (-?\d+) to (-?\d+)\b/.exec(help);
      return { kind: "integer", least: said ? BigInt(said[1]!) : lowest, most: said ? BigInt(said[2]!) : highest };
    }
  }
}

function choiceOf(catalogue: Catalogue, field: DescField): Control {
  const values = field.enum!.values;
  const first = values[0]!;
  const choices = values
    .filter((value) => value.number !== 0)
    .map((value) => ({
      number: value.number,
      label: valueLabel(value.name, first.name),
      help: catalogue.comments.of(value),
    }));
  return { kind: "choice", choices, unset: catalogue.comments.of(first) };
}

function messageOf(catalogue: Catalogue, field: DescField, message: DescMessage, place: Place): Control {
  if (message.typeName === ANY) return { kind: "request" };
  if (message.typeName === "google.protobuf.Timestamp") return { kind: "time" };
  if (message.typeName === "google.protobuf.Duration") return { kind: "duration" };
  if (message.typeName.startsWith("google.") || place.around.includes(message)) return { kind: "json" };
  const settable = optionsOf(field).hint.settable;
  if (settable.length > 0) return changesOf(catalogue, message, settable);
  const { required } = optionsOf(field);
  const secondary = getOption(message, resource).type !== "" && !required;
  const inside = { creating: place.creating, around: [...place.around, message], secondary };
  const root = place.around.length === 1;
  return { kind: "message", desc: message, fields: fieldsOf(catalogue, message, inside), inline: root && required };
}

/** The object of an update: its name, what may be changed of it, and its etag. */
function changesOf(catalogue: Catalogue, message: DescMessage, settable: readonly string[]): Control {
  const place = { creating: false, around: [message], secondary: false };
  const type = getOption(message, resource).type;
  const name: FieldSpec = {
    name: "name",
    label: capitalised(nounOf(type)),
    help: catalogue.comments.of(message.fields.find((field) => field.name === "name")!),
    required: true,
    immutable: true,
    advanced: false,
    presence: false,
    control: { kind: "reference", type },
  };
  const fields = fieldsOf(catalogue, message, place, [...settable, "etag"]);
  return { kind: "message", desc: message, fields: [name, ...fields], inline: true };
}

function listOf(catalogue: Catalogue, field: DescField & { fieldKind: "list" }, place: Place): Control {
  const reference = optionsOf(field).reference;
  if (field.listKind === "scalar" && reference) return { kind: "references", type: reference };
  const help = catalogue.comments.of(field);
  let control: Control;
  if (field.listKind === "scalar") control = scalarOf(field, field.scalar, help);
  else if (field.listKind === "enum") control = choiceOf(catalogue, field);
  else control = messageOf(catalogue, field, field.message, { ...place, creating: true });
  if (control.kind === "message") control = { ...control, inline: false };
  const item = itemOf(field, control, help);
  // "Boot device" says what an item of the boot order is.
  return { kind: "list", item: field.listKind === "enum" ? { ...item, label: humanise(snakeCase(field.enum.name)) } : item };
}

function mapOf(catalogue: Catalogue, field: DescField & { fieldKind: "map" }, place: Place): Control {
  const key = { ...itemOf(field, scalarOf(field, field.mapKey, ""), "The key."), label: "Key", required: true };
  let control: Control;
  if (field.mapKind === "scalar") control = scalarOf(field, field.scalar, "");
  else if (field.mapKind === "enum") control = choiceOf(catalogue, field);
  else control = messageOf(catalogue, field, field.message, place);
  return { kind: "map", key, value: { ...itemOf(field, control, "The value."), label: "Value" } };
}

function itemOf(field: DescField, control: Control, help: string): FieldSpec {
  const label = singular(labelOf(field));
  const plain = { required: false, immutable: false, advanced: false, presence: false };
  return { name: field.name, label, help, ...plain, control };
}

function singular(label: string): string {
  return label.endsWith("ss") ? label : label.replace(/ies$/, "y").replace(/s$/, "");
}

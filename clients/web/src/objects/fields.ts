// The summary of an object as plain values, read from its descriptor: labels, values with units, references.
import { ScalarType, getOption, type DescField, type DescMessage, type Message } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { DurationSchema, TimestampSchema, type Duration, type Timestamp } from "@bufbuild/protobuf/wkt";
import { resource_reference } from "../api/google/api/resource_pb";
import { field_hint, Unit } from "../api/virtyard/api/type/v1/annotations_pb";
import { showBytes } from "../forms/quantities";
import { humanise } from "../forms/words";
import { countOf } from "../ui/counts";
import { millisOf, showLength } from "../ui/moments";
import { enumWords } from "./kinds";

/** A value of a field, as a page shows it. */
export type FieldValue =
  | { readonly kind: "text"; readonly text: string; readonly code?: boolean }
  | { readonly kind: "references"; readonly names: readonly string[] }
  | { readonly kind: "texts"; readonly texts: readonly string[] }
  | { readonly kind: "moment"; readonly at: number }
  | { readonly kind: "empty" };

export interface SummaryRow {
  /** The field's name in the proto, as memory_bytes. */
  readonly field: string;
  readonly label: string;
  readonly value: FieldValue;
}

export interface SummarySection {
  /** Empty for the object's own fields. */
  readonly title: string;
  readonly rows: readonly SummaryRow[];
  /** True for what people seldom look at. */
  readonly folded: boolean;
}

// What the heading of a page shows already, and what has a tab of its own.
const SHOWN_ELSEWHERE = new Set(["name", "display_name", "state", "activity", "description"]);
const IDENTITY = new Set(["uid", "generation", "etag", "create_time", "update_time", "host_id", "serial"]);

/** The sections of an object's summary: its fields, those of the messages in it, and at the end what identifies it. */
export function summaryOf(schema: DescMessage, object: Message): readonly SummarySection[] {
  const reflected = reflect(schema, object);
  const own: SummaryRow[] = [];
  const identity: SummaryRow[] = [];
  const inner: SummarySection[] = [];
  for (const field of schema.fields) {
    if (SHOWN_ELSEWHERE.has(field.name)) continue;
    const message = innerMessage(reflected, field);
    if (message) inner.push({ title: humanise(field.name), rows: rowsOf(message), folded: false });
    else if (!isMessage(field)) (IDENTITY.has(field.name) ? identity : own).push(rowOf(reflected, field));
  }
  const sections = [{ title: "", rows: own, folded: false }, ...inner];
  return [...sections, { title: "Identity and times", rows: identity, folded: true }].filter(({ rows }) => rows.length > 0);
}

/** The value of one field of an object. */
export function fieldValue(schema: DescMessage, object: Message, field: DescField): FieldValue {
  return valueOf(reflect(schema, object), field);
}

function rowsOf(message: ReflectMessage): SummaryRow[] {
  return message.desc.fields.flatMap((field) => {
    const inner = innerMessage(message, field);
    return inner ? rowsOf(inner) : isMessage(field) ? [] : [rowOf(message, field)];
  });
}

/** The message in a field, if it is set and has parts that are shown one by one. */
function innerMessage(message: ReflectMessage, field: DescField): ReflectMessage | undefined {
  if (field.fieldKind !== "message" || !isMessage(field) || !message.isSet(field)) return undefined;
  return message.get(field) as ReflectMessage;
}

function isMessage(field: DescField): boolean {
  return field.fieldKind === "message" && field.message !== undefined && !isMoment(field) && !isSpan(field);
}

const isMoment = (field: DescField) => field.message?.typeName === TimestampSchema.typeName;
const isSpan = (field: DescField) => field.message?.typeName === DurationSchema.typeName;

function rowOf(message: ReflectMessage, field: DescField): SummaryRow {
  return { field: field.name, label: labelOf(field), value: valueOf(message, field) };
}

/** The words for a field: without its unit, which the value has. */
export function labelOf(field: DescField): string {
  return humanise(getOption(field, field_hint).unit ? field.name.replace(/_(bytes|percent|seconds)$/, "") : field.name);
}

function valueOf(message: ReflectMessage, field: DescField): FieldValue {
  if (field.fieldKind === "list") return listOf(message, field);
  if (field.fieldKind === "map") {
    const entries = [...message.get(field)].map(([key, value]) => `${String(key)}=${String(value)}`);
    return entries.length > 0 ? { kind: "texts", texts: entries } : { kind: "empty" };
  }
  if (field.fieldKind === "message") return messageOf(message, field);
  if (field.fieldKind === "enum") {
    const number = message.get(field);
    return number === 0 ? { kind: "empty" } : { kind: "text", text: enumWords(field.enum, number) };
  }
  return scalarOf(field, message.get(field) as string | number | bigint | boolean | Uint8Array);
}

function messageOf(message: ReflectMessage, field: DescField & { fieldKind: "message" }): FieldValue {
  if (!message.isSet(field)) return { kind: "empty" };
  const inner = (message.get(field) as ReflectMessage).message;
  if (isMoment(field)) return { kind: "moment", at: millisOf(inner as Timestamp)! };
  const { seconds, nanos } = inner as Duration;
  return { kind: "text", text: showLength(Number(seconds) * 1000 + nanos / 1e6) };
}

function listOf(message: ReflectMessage, field: DescField & { fieldKind: "list" }): FieldValue {
  const items = [...message.get(field)];
  if (items.length === 0) return { kind: "empty" };
  if (isReference(field)) return { kind: "references", names: items.map(String) };
  if (field.listKind === "enum") return { kind: "texts", texts: items.map((item) => enumWords(field.enum, Number(item))) };
  if (field.listKind === "message") {
    return { kind: "texts", texts: items.map((item) => rowsOf(item as ReflectMessage).map(wordsOf).filter(Boolean).join(", ")) };
  }
  return { kind: "texts", texts: items.map(String) };
}

function scalarOf(field: DescField, value: string | number | bigint | boolean | Uint8Array): FieldValue {
  if (typeof value === "boolean") return { kind: "text", text: value ? "yes" : "no" };
  if (value instanceof Uint8Array) return { kind: "text", text: countOf(value.length, "byte") };
  if (value === "") return { kind: "empty" };
  if (isReference(field)) return { kind: "references", names: [String(value)] };
  if (field.scalar === ScalarType.STRING) return { kind: "text", text: String(value), code: /^\/|:\/\/|^[0-9a-f-]{16,}$/.test(String(value)) };
  return { kind: "text", text: quantity(getOption(field, field_hint).unit, value as number | bigint) };
}

function quantity(unit: Unit, value: number | bigint): string {
  switch (unit) {
    case Unit.BYTES:
      return showBytes(value);
    case Unit.PERCENT:
      return `${Number(value).toFixed(0)} %`;
    case Unit.SECONDS:
      return showLength(Number(value) * 1000);
    default:
      return value.toLocaleString();
  }
}

function isReference(field: DescField): boolean {
  return getOption(field, resource_reference).type !== "";
}

/** A row in one text: "cpus 2". */
function wordsOf({ label, value }: SummaryRow): string {
  switch (value.kind) {
    case "text":
      return `${label} ${value.text}`;
    case "texts":
      return `${label} ${value.texts.join(" ")}`;
    case "references":
      return `${label} ${value.names.join(" ")}`;
    case "moment":
      return `${label} ${new Date(value.at).toISOString()}`;
    case "empty":
      return "";
  }
}

// The form of an earlier operation as it was filled in then, from the request that its record has kept.
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import type { FieldMask } from "@bufbuild/protobuf/wkt";
import type { Catalogue } from "../forms/catalogue";
import { draftOf, type Fields } from "../forms/draft";
import { changedField, type FieldSpec } from "../forms/spec";

/** The name of the object that a request is about by the path of its field, as `name` or `server.name`. */
export function objectNamed(desc: DescMessage, request: Message, path: string): string {
  const [first = "", ...rest] = path.split(".");
  const field = desc.fields.find((known) => known.name === first);
  if (!field) return "";
  const value: unknown = reflect(desc, request).get(field);
  if (field.fieldKind !== "message") return String(value);
  return objectNamed(field.message, (value as { message: Message }).message, rest.join("."));
}

/**
 * The draft of a form with what was asked for before.
 *
 * @param now the form as it stands before anything is said: of an update, with the object as it is. Of that only the fields
 *   are taken over that were changed then, as the others may have been changed since.
 */
export function asBefore(catalogue: Catalogue, desc: DescMessage, specs: readonly FieldSpec[], now: Fields, request: Message): Fields {
  const said = draftOf(catalogue, specs, reflect(desc, request));
  const changed = changedField(desc);
  const control = specs.find((spec) => spec.name === changed?.name)?.control;
  if (!changed || control?.kind !== "message") return said;
  const before = said[changed.name] as Fields;
  const paths = changedThen(desc, changed, request);
  const merged: Fields = { ...(now[changed.name] as Fields) };
  for (const spec of control.fields) {
    const members = spec.control.kind === "oneof" ? spec.control.members.map((member) => member.name) : [spec.name];
    if (!members.some((name) => paths.has(name))) continue;
    for (const key of [...members, `?${spec.name}`]) if (key in before) merged[key] = before[key]!;
  }
  return { ...said, [changed.name]: merged };
}

/** The fields of its object that an update changed: those that it named, or all that it set where it named none. */
function changedThen(desc: DescMessage, changed: DescField, request: Message): Set<string> {
  const asked = reflect(desc, request);
  const field = desc.fields.find((known) => known.name === "update_mask");
  const mask = field && (asked.get(field) as unknown as { message: FieldMask }).message;
  if (mask && mask.paths.length > 0) return new Set(mask.paths.map((path) => path.split(".")[0]!));
  const object = asked.get(changed) as ReflectMessage;
  return new Set(object.fields.filter((known) => object.isSet(known)).map((known) => known.name));
}

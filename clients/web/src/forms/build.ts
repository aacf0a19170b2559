// From a draft to the message that is sent, with what is wrong of it by the path of the field.
import {
  create,
  fromJsonString,
  ScalarType,
  type DescField,
  type DescMessage,
  type Message,
} from "@bufbuild/protobuf";
import { reflect, type ReflectList, type ReflectMap, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { anyPack, AnySchema, FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import type { Catalogue } from "./catalogue";
import { isInner, pathText, type Draft, type Fields, type Inner, type Item, type Pair, type Path } from "./draft";
import { changedField, specOf, type Carried, type Control, type FieldSpec } from "./spec";
import { BadValue, readText } from "./typed";

/** What the form knows beside its draft. */
export interface Carrying {
  /** The etag of the object that was read; empty if none was. */
  etag: string;
  requestId: string;
  validateOnly: boolean;
  /** The fields of the object to be changed that are to be taken over. */
  changes: readonly string[];
}

/** What is wrong by the path of the field, as disks[1].size_bytes. */
export type Errors = Readonly<Record<string, string>>;

/** A message and what is wrong with it; only one without errors is to be sent. */
export interface Built {
  message: Message;
  errors: Errors;
}

export const IS_REQUIRED = "is required";

/** Makes the request that a draft asks for. */
export function build(catalogue: Catalogue, request: DescMessage, draft: Fields, carrying: Carrying): Built {
  const errors: Record<string, string> = {};
  const builder = new Builder(catalogue, carrying, errors);
  return { message: builder.message(request, specOf(catalogue, request), draft, []).message, errors };
}

/** The fields of the object to be changed in which two drafts of the request differ. */
export function changesBetween(request: DescMessage, before: Fields, after: Fields): string[] {
  const changed = changedField(request);
  if (!changed) return [];
  const [old, now] = [before[changed.name] as Fields, after[changed.name] as Fields];
  const plain = (draft: Draft | undefined) => JSON.stringify(draft, (key, value: unknown) => (key === "id" ? 0 : value));
  const differ = Object.keys(now).filter((name) => plain(old[name]) !== plain(now[name]));
  // Of a oneof, the member that is set now is changed, and so is the one that it takes the place of.
  const named = differ.flatMap((name) => (name.startsWith("?") ? [old[name], now[name]] : [name])) as string[];
  return [...new Set(named)].filter((name) => name !== "" && name !== "name" && name !== "etag");
}

/** Whether nothing has been said in a widget. */
export function isEmpty(control: Control, draft: Draft): boolean {
  if (typeof draft === "string") return draft.trim() === "";
  if (typeof draft === "boolean") return !draft;
  if (Array.isArray(draft)) return draft.length === 0;
  if (control.kind === "request") return (draft as Inner).type === "";
  if (control.kind !== "message") return true;
  return control.fields.every((spec) => isFieldEmpty(spec, draft as Fields));
}

function isFieldEmpty(spec: FieldSpec, fields: Fields): boolean {
  if (spec.control.kind === "oneof") return fields[`?${spec.name}`] === "";
  return isEmpty(spec.control, fields[spec.name]!);
}

class Builder {
  /** Whether it is at the request of another operation. */
  private inside = false;

  constructor(
    private readonly catalogue: Catalogue,
    private readonly carrying: Carrying,
    private readonly errors: Record<string, string>,
  ) {}

  message(desc: DescMessage, specs: readonly FieldSpec[], fields: Fields, path: Path): ReflectMessage {
    const made = reflect(desc);
    for (const spec of specs) {
      if (spec.control.kind !== "oneof") {
        this.field(made, spec, fields[spec.name]!, [...path, spec.name]);
        continue;
      }
      const chosen = spec.control.members.find((member) => member.name === fields[`?${spec.name}`]);
      if (chosen) this.field(made, { ...chosen, required: true }, fields[chosen.name]!, [...path, chosen.name]);
    }
    return made;
  }

  private field(made: ReflectMessage, spec: FieldSpec, draft: Draft, path: Path): void {
    const field = made.desc.fields.find((known) => known.name === spec.name)!;
    const { control } = spec;
    if (this.carry(made, field, control, draft)) return;
    if (isEmpty(control, draft) && !(control.kind === "message" && (spec.required || control.inline))) {
      if (spec.required) this.errors[pathText(path)] = IS_REQUIRED;
      return;
    }
    switch (control.kind) {
      case "references":
        return this.references(made.get(field) as ReflectList, control.type, draft as string[], path);
      case "list":
        return this.list(made.get(field) as ReflectList, control.item, draft as Item[], path);
      case "map":
        return this.map(made.get(field) as ReflectMap, control.value, draft as Pair[], path);
      default: {
        const value = this.tried(spec, draft, path, field);
        if (value !== undefined) made.set(field, value as never);
      }
    }
  }

  /** Puts in what the form itself carries; false if the field is not of that kind. */
  private carry(made: ReflectMessage, field: DescField, control: Control, draft: Draft): boolean {
    const { etag, requestId, validateOnly, changes } = this.carrying;
    const value = {
      etag: draft === true ? etag : "",
      request_id: requestId,
      preview: validateOnly,
      changes: changes.length > 0 && reflect(FieldMaskSchema, create(FieldMaskSchema, { paths: [...changes] })),
    };
    if (!(control.kind in value)) return false;
    // A request inside this one is submitted later, each time anew: nothing of this form belongs to it.
    if (value[control.kind as Carried] && !this.inside) made.set(field, value[control.kind as Carried] as never);
    return true;
  }

  private references(list: ReflectList, type: string, names: readonly string[], path: Path): void {
    names.forEach((name, index) => {
      try {
        list.add(this.resolve(type, name));
      } catch (error) {
        this.errors[pathText([...path, index])] = (error as BadValue).message;
      }
    });
  }

  private list(list: ReflectList, item: FieldSpec, items: readonly Item[], path: Path): void {
    items.forEach(({ value }, index) => {
      const place = [...path, index];
      if (item.control.kind !== "message" && isEmpty(item.control, value)) {
        this.errors[pathText(place)] = "is empty; fill it in or remove it";
        return;
      }
      const made = this.tried(item, value, place, list.field());
      if (made !== undefined) list.add(made as never);
    });
  }

  private map(map: ReflectMap, spec: FieldSpec, pairs: readonly Pair[], path: Path): void {
    const seen = new Set<string>();
    pairs.forEach(({ key, value }, index) => {
      const place = pathText([...path, index]);
      if (!key.trim()) this.errors[place] = "the key is required";
      else if (seen.has(key.trim())) this.errors[place] = `the key ${key.trim()} is there twice`;
      seen.add(key.trim());
      const made = isEmpty(spec.control, value) && spec.control.kind === "text" ? "" : this.tried(spec, value, [...path, index]);
      if (made !== undefined && !this.errors[place]) map.set(keyOf(map, key.trim()) as never, made as never);
    });
  }

  private tried(spec: FieldSpec, draft: Draft, path: Path, field?: DescField): unknown {
    try {
      return this.value(spec, draft, path, field);
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      this.errors[pathText(path)] = error.message;
      return undefined;
    }
  }

  private value(spec: FieldSpec, draft: Draft, path: Path, field?: DescField): unknown {
    const { control } = spec;
    switch (control.kind) {
      case "message":
        return this.message(control.desc, control.fields, draft as Fields, path);
      case "request":
        return this.request(draft, path);
      case "truth":
        return draft === true || draft === "yes";
      case "reference":
        return this.resolve(control.type, draft as string);
      case "choice":
        return Number(draft);
      case "text":
      case "upload":
        return draft;
      case "json":
        return reflect(field!.message!, fromJsonString(field!.message!, draft as string));
      default:
        return readText(control, (draft as string).trim(), field);
    }
  }

  private request(draft: Draft, path: Path): unknown {
    if (!isInner(draft)) return undefined;
    const operation = this.catalogue.operationOf(draft.type);
    if (!operation) return draft.unknown && reflect(AnySchema, draft.unknown);
    const desc = operation.method.input;
    this.inside = true;
    const { message } = this.message(desc, specOf(this.catalogue, desc), draft.fields, path);
    this.inside = false;
    return reflect(AnySchema, anyPack(desc, message));
  }

  /** The full name of an object that may be given by its last part only; a place to fill in stays as it is. */
  private resolve(type: string, text: string): string {
    const name = text.trim();
    const prefix = this.catalogue.resource(type)?.prefix ?? "";
    if (!prefix || name.startsWith("{")) return name;
    if (!name.includes("/")) return prefix + name;
    if (!name.startsWith(prefix) || name.slice(prefix.length).includes("/")) {
      throw new BadValue(`must be ${prefix}NAME or NAME, not ${name}`);
    }
    return name;
  }
}

function keyOf(map: ReflectMap, text: string): string | number | bigint | boolean {
  switch (map.field().mapKey) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BOOL:
      return text === "true";
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return BigInt(text);
    default:
      return Number(text);
  }
}

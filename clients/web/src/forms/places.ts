// Places in a form by the paths that the protos write: where a refused field is shown, and where a link's value goes.
import type { Catalogue } from "./catalogue";
import { emptyDraft, isInner, nextId, pathText, withAt, at, type Draft, type Fields, type Item, type Pair, type Path } from "./draft";
import { specOf, type Control, type FieldSpec } from "./spec";

/** A widget, and where it stands. */
interface Place {
  path: Path;
  control: Control;
  /** What of the path lies inside the widget. */
  rest: string;
}

/** A field that the server refused, as `BadRequest` has it. */
interface Violation {
  field: string;
  description: string;
}

/** Refused fields by the widget that shows them, and those that no widget shows. */
export interface Placed {
  errors: Record<string, string>;
  others: Violation[];
}

/** Puts each refused field to its widget; what is wrong inside one is said with the path inside. */
export function placeViolations(catalogue: Catalogue, specs: readonly FieldSpec[], draft: Fields, violations: readonly Violation[]): Placed {
  const placed: Placed = { errors: {}, others: [] };
  for (const violation of violations) {
    const place = find(catalogue, specs, draft, violation.field);
    if (!place || (place.control.kind === "message" && place.control.inline)) {
      placed.others.push(violation);
      continue;
    }
    const key = pathText(place.path);
    const text = place.rest ? `${place.rest}: ${violation.description}` : violation.description;
    placed.errors[key] = placed.errors[key] ? `${placed.errors[key]}; ${text}` : text;
  }
  return placed;
}

/** The parts of a path: disks[1].size_bytes is disks, 1, size_bytes. */
export function partsOf(text: string): (string | number)[] {
  return [...text.matchAll(/([A-Za-z_]\w*)|\[(\d+)\]/g)].map(([, name, number]) => name ?? Number(number));
}

function find(catalogue: Catalogue, specs: readonly FieldSpec[], draft: Draft, text: string): Place | undefined {
  const parts = partsOf(text);
  let fields = specs;
  let found: Place | undefined;
  let path: Path = [];
  while (parts.length > 0) {
    const part = parts.shift()!;
    let control: Control | undefined;
    if (typeof part === "string") {
      control = named(fields, part)?.control;
    } else if (found?.control.kind === "list" && part < (at(draft, path) as Item[]).length) {
      control = found.control.item.control;
    } else if (found?.control.kind === "references") {
      control = { kind: "reference", type: found.control.type };
    }
    if (!control) return found && { ...found, rest: pathText([part, ...parts]) };
    path = [...path, part];
    found = { path, control, rest: "" };
    fields = fieldsInside(catalogue, control, () => at(draft, path));
  }
  return found;
}

function named(fields: readonly FieldSpec[], name: string): FieldSpec | undefined {
  const members = fields.flatMap((spec) => (spec.control.kind === "oneof" ? spec.control.members : []));
  return [...fields, ...members].find((spec) => spec.name === name);
}

function fieldsInside(catalogue: Catalogue, control: Control, draft: () => Draft): readonly FieldSpec[] {
  if (control.kind === "message") return control.fields;
  if (control.kind !== "request") return [];
  const inner = draft();
  const operation = isInner(inner) ? catalogue.operationOf(inner.type) : undefined;
  return operation ? specOf(catalogue, operation.method.input) : [];
}

/** A draft with the values of a link filled in: by the whole path, or by the name of a field that stands at the top. */
export function prefilled(specs: readonly FieldSpec[], draft: Fields, values: Iterable<[string, string]>): Fields {
  let filled: Draft = draft;
  for (const [key, text] of values) filled = fillIn(specs, filled as Fields, partsOf(key), text);
  return filled as Fields;
}

/** The path of a field that a link names; a field of a required message may be named without that. */
function fillIn(specs: readonly FieldSpec[], draft: Fields, parts: (string | number)[], text: string): Fields {
  const [first, ...rest] = parts;
  if (typeof first !== "string") return draft;
  const spec = named(specs, first);
  const holder = specs.find(({ control }) => control.kind === "message" && control.inline && named(control.fields, first));
  if (holder && (!spec || (spec.control.kind === "message" && rest.length === 0))) {
    return fillIn(specs, draft, [holder.name, ...parts], text);
  }
  if (!spec) return draft;
  const oneof = specs.find(({ control }) => control.kind === "oneof" && control.members.includes(spec));
  const chosen = oneof ? withAt(draft, [`?${oneof.name}`], first) : draft;
  return withAt(chosen, [first], put(spec.control, at(draft, [first]), rest, text)) as Fields;
}

function put(control: Control, draft: Draft, parts: (string | number)[], text: string): Draft {
  switch (control.kind) {
    case "message":
      return parts.length > 0 ? fillIn(control.fields, draft as Fields, parts, text) : draft;
    case "list": {
      const [index = 0, ...rest] = parts;
      const items = [...(draft as Item[])];
      while (items.length <= Number(index) && items.length < 100) {
        items.push({ id: nextId(), value: emptyDraft(control.item.control) });
      }
      const item = items[Number(index)]!;
      items[Number(index)] = { ...item, value: put(control.item.control, item.value, rest, text) };
      return items;
    }
    case "references":
      return text.split(",").filter(Boolean);
    case "choice":
      return choiceNumber(control, text);
    case "truth":
      return typeof draft === "boolean" ? text === "true" : text === "true" ? "yes" : "no";
    case "map": {
      const [key = "", value = ""] = text.split("=", 2);
      return [...(draft as Pair[]), { id: nextId(), key, value }];
    }
    case "etag":
      return text === "true";
    case "request":
    case "oneof":
      return draft;
    default:
      return text;
  }
}

/** The number of a choice that is named by its label, in any case and with hyphens as well. */
function choiceNumber(control: Control & { kind: "choice" }, text: string): string {
  const wanted = text.toLowerCase().replaceAll(/[-_]/g, " ");
  const found = control.choices.find((choice) => choice.label.toLowerCase() === wanted || String(choice.number) === text);
  return found ? String(found.number) : "";
}

// Which operation types concern which kind of object, read off the fields of their requests.
import { getOption, type DescField } from "@bufbuild/protobuf";
import { resource } from "../api/google/api/resource_pb";
import { Role } from "../api/virtyard/api/type/v1/annotations_pb";
import type { Catalogue, OperationType } from "../forms/catalogue";
import { optionsOf } from "../forms/options";
import { changedField } from "../forms/spec";

/** An operation type that can be asked for from an object's page. */
export interface ObjectOperation {
  operation: OperationType;
  /** The field of the request that names the object, as name or virtual_machine.server_pool. */
  field: string;
  /** Whether it does something to the object; otherwise it makes something in it, or uses it. */
  acts: boolean;
}

/** The operation types that take an object of this type, those that act on it first, destructive ones last. */
export function operationsOn(catalogue: Catalogue, type: string): ObjectOperation[] {
  const found: ObjectOperation[] = [];
  for (const operation of catalogue.operations) {
    const acting = actingField(operation, type);
    const using = acting ? undefined : usingField(operation, type);
    const field = acting ?? using;
    if (field) found.push({ operation, field, acts: acting !== undefined });
  }
  const rank = ({ operation, acts }: ObjectOperation) => (operation.destructive ? 2 : acts ? 0 : 1);
  return found.sort((one, other) => rank(one) - rank(other));
}

/** The operation types that make something new, by title. */
export function makers(catalogue: Catalogue): OperationType[] {
  const made = catalogue.operations.filter((operation) => makesResource(operation));
  return made.sort((one, other) => one.title.localeCompare(other.title));
}

/** Whether a caller with these roles may ask for what needs a role. */
export function covers(roles: readonly Role[], needed: Role): boolean {
  return roles.some((role) => role >= needed && role <= Role.ADMINISTRATOR);
}

/** The field that names what an operation acts on: a required reference, or the object that is changed. */
function actingField(operation: OperationType, type: string): string | undefined {
  const changed = changedField(operation.method.input);
  if (changed?.message) {
    return getOption(changed.message, resource).type === type ? `${changed.name}.name` : undefined;
  }
  return operation.method.input.fields.find((field) => refers(field, type) && optionsOf(field).required)?.name;
}

/** The field through which an operation uses an object: an optional reference, one of a list, or the place of what is made. */
function usingField(operation: OperationType, type: string): string | undefined {
  const own = operation.method.input.fields.find((field) => refers(field, type) || refersToMany(field, type));
  if (own) return own.name;
  if (changedField(operation.method.input)) return undefined;
  for (const field of operation.method.input.fields) {
    if (field.fieldKind !== "message" || !optionsOf(field).required) continue;
    const inside = field.message.fields.find((inner) => refers(inner, type) && !optionsOf(inner).output);
    if (inside) return `${field.name}.${inside.name}`;
  }
  return undefined;
}

function makesResource(operation: OperationType): boolean {
  const names = new Set(operation.method.input.fields.map((field) => field.name));
  return operation.method.input.fields.some((field) => field.message && names.has(`${field.name}_id`));
}

function refers(field: DescField, type: string): boolean {
  return field.fieldKind === "scalar" && optionsOf(field).reference === type;
}

function refersToMany(field: DescField, type: string): boolean {
  return field.fieldKind === "list" && field.listKind === "scalar" && optionsOf(field).reference === type;
}

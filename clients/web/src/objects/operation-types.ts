// The operation types that the generated code knows, by what their protos say of them.
import { getOption, type DescField, type DescMethod } from "@bufbuild/protobuf";
import { field_behavior, FieldBehavior } from "../api/google/api/field_behavior_pb";
import { resource_reference } from "../api/google/api/resource_pb";
import { OperationService } from "../api/virtyard/api/operations/v1/operation_service_pb";
import { field_hint, method_hint } from "../api/virtyard/api/type/v1/annotations_pb";
import type { ObjectKind } from "./kinds";

export interface OperationType {
  readonly method: DescMethod;
  /** The rpc's own name, as StartVirtualMachine. */
  readonly name: string;
  /** As people read it in a list of jobs: Start Virtual Machine. */
  readonly title: string;
  /** What it does, as start or set-priority. */
  readonly verb: string;
  readonly destructive: boolean;
}

export const OPERATION_TYPES: readonly OperationType[] = OperationService.methods.flatMap((method) => {
  const { title, verb, destructive } = getOption(method, method_hint);
  return title ? [{ method, name: method.name, title, verb, destructive }] : [];
});

/** How an operation type takes the object that it is about. */
export interface ObjectOperation extends OperationType {
  /** The field for it: a reference to the object, or the object itself, changed. */
  readonly field: DescField;
  /** True if fields besides that one must be filled in, so that only a form can tell what they are to be. */
  readonly needsMore: boolean;
}

/** The operation types that are about one object of a kind, in the order of the proto. */
export function operationsOf(kind: ObjectKind): readonly ObjectOperation[] {
  return OPERATION_TYPES.flatMap((type) => {
    const { fields } = type.method.input;
    const field = fields.find((each) => takes(each, kind));
    if (!field) return [];
    const needsMore = fields.some((each) => each !== field && getOption(each, field_behavior).includes(FieldBehavior.REQUIRED));
    return [{ ...type, field, needsMore: needsMore || isWhole(field) }];
  });
}

/** True for the field that names the object itself, and for the object as it is to become. */
function takes(field: DescField, kind: ObjectKind): boolean {
  if (isWhole(field)) return field.message?.typeName === kind.message.typeName && getOption(field, field_hint).settable.length > 0;
  if (field.fieldKind !== "scalar" || getOption(field, resource_reference).type !== kind.type) return false;
  return field.name === "name" || getOption(field, field_hint).positional;
}

function isWhole(field: DescField): boolean {
  return field.fieldKind === "message";
}

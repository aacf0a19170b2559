// What a field's options say, read once: getOption decodes them anew each time.
import { getOption, type DescField } from "@bufbuild/protobuf";
import { field_behavior, FieldBehavior } from "../api/google/api/field_behavior_pb";
import { resource_reference } from "../api/google/api/resource_pb";
import { field_hint, type FieldHint } from "../api/virtyard/api/type/v1/annotations_pb";

/** The options of a field. */
export interface FieldOptions {
  /** The resource type that it names; empty if it names none. */
  reference: string;
  hint: FieldHint;
  required: boolean;
  immutable: boolean;
  /** Set by the server only. */
  output: boolean;
  /** The resource's own name. */
  identifier: boolean;
}

const known = new WeakMap<DescField, FieldOptions>();

/** The options of a field, as the protos give them. */
export function optionsOf(field: DescField): FieldOptions {
  let options = known.get(field);
  if (!options) {
    const behaviour = getOption(field, field_behavior);
    options = {
      reference: getOption(field, resource_reference).type,
      hint: getOption(field, field_hint),
      required: behaviour.includes(FieldBehavior.REQUIRED),
      immutable: behaviour.includes(FieldBehavior.IMMUTABLE),
      output: behaviour.includes(FieldBehavior.OUTPUT_ONLY),
      identifier: behaviour.includes(FieldBehavior.IDENTIFIER),
    };
    known.set(field, options);
  }
  return options;
}

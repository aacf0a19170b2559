// A field of a kind that has no widget of its own, as JSON; no operation type of Virtyard's has one.
import { JsonInput } from "@mantine/core";
import { useField } from "../context";
import type { FieldProps } from "./FieldView";

export function JsonField({ spec, path }: FieldProps) {
  const { value, change, error, id } = useField<string>(path);
  return (
    <JsonInput
      id={id}
      label={spec.label}
      description={`${spec.help} Written as JSON.`}
      error={error}
      required={spec.required}
      autosize
      minRows={2}
      value={value}
      onChange={change}
    />
  );
}

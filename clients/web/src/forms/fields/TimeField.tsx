// A field that is a point in time, in the time zone of this browser.
import { TextInput } from "@mantine/core";
import { useField } from "../context";
import type { FieldProps } from "./FieldView";

export function TimeField({ spec, path }: FieldProps) {
  const { value, change, error, id } = useField<string>(path);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return (
    <TextInput
      id={id}
      type="datetime-local"
      step={1}
      label={spec.label}
      description={`${spec.help} Read in ${zone}.`}
      error={error}
      required={spec.required}
      value={value}
      onChange={(event) => change(event.currentTarget.value)}
    />
  );
}

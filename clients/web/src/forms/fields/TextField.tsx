// A field that is typed: text, numbers, sizes with a unit, and spans of time; what a quantity comes to is shown below.
import { Textarea, TextInput } from "@mantine/core";
import { useField, useForm } from "../context";
import { readBytes, showBytes } from "../quantities";
import type { Control } from "../spec";
import type { FieldProps } from "./FieldView";

const PLACEHOLDERS: Partial<Record<Control["kind"], string>> = {
  size: "4G",
  span: "30s, 5m, 1h30m",
  duration: "30s, 5m, 1h30m",
  percent: "40%",
  paths: "display_name, labels",
  bytes: "base64",
};

export function TextField({ spec, path }: FieldProps) {
  const { fixed } = useForm();
  const { value, change, error, id } = useField<string>(path);
  const { control } = spec;
  const common = {
    id,
    label: spec.label,
    description: helpOf(spec.help, control, value),
    placeholder: PLACEHOLDERS[control.kind],
    required: spec.required,
    disabled: spec.immutable && fixed,
    error,
    value,
  };
  if (control.kind === "text" && control.long) {
    return <Textarea {...common} autosize minRows={2} maxRows={8} onChange={(event) => change(event.currentTarget.value)} />;
  }
  const numeric = control.kind === "integer" || control.kind === "number" || control.kind === "percent";
  return (
    <TextInput
      {...common}
      inputMode={numeric ? "numeric" : "text"}
      autoComplete="off"
      spellCheck={false}
      onChange={(event) => change(event.currentTarget.value)}
    />
  );
}

function helpOf(help: string, control: Control, value: string): string {
  if (control.kind !== "size") return help;
  const size = readBytes(value);
  return size ? `${help} ${value} is ${showBytes(size)}.` : help;
}

// A field that is yes or no; where not saying it is a third answer, that can be chosen as well.
import { Checkbox, Select } from "@mantine/core";
import { useField } from "../context";
import type { FieldProps } from "./FieldView";

const ANSWERS = [
  { value: "yes", label: "Yes" },
  { value: "no", label: "No" },
];

export function TruthField({ spec, path }: FieldProps) {
  const { value, change, error, id } = useField<boolean | string>(path);
  if (spec.presence) {
    return (
      <Select
        id={id}
        label={spec.label}
        description={spec.help}
        error={error}
        data={ANSWERS}
        placeholder="Not set"
        clearable
        clearButtonProps={{ "aria-label": `Clear ${spec.label}` }}
        value={value === "" ? null : String(value)}
        onChange={(chosen) => change(chosen ?? "")}
      />
    );
  }
  return (
    <Checkbox
      id={id}
      label={spec.label}
      description={spec.help}
      error={error}
      checked={value === true}
      onChange={(event) => change(event.currentTarget.checked)}
    />
  );
}

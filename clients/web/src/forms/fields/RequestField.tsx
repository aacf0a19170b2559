// The request of another operation, as a schedule or a trigger submits it: its type is chosen, and its form stands inside.
import { Fieldset, Select, Stack, Text } from "@mantine/core";
import { useMemo } from "react";
import { useField, useForm } from "../context";
import { emptyFields, type Inner } from "../draft";
import { FieldRows } from "../FieldRows";
import { specOf, type FieldSpec } from "../spec";
import type { FieldProps } from "./FieldView";

export function RequestField({ spec, path }: FieldProps) {
  const { catalogue } = useForm();
  const { value, change, error, id } = useField<Inner>(path);
  const types = useMemo(
    () =>
      catalogue.operations
        .map((operation) => ({ value: operation.method.input.typeName, label: operation.title }))
        .sort((one, other) => one.label.localeCompare(other.label)),
    [catalogue],
  );
  const operation = catalogue.operationOf(value.type);
  const fields = useMemo(() => (operation ? asked(specOf(catalogue, operation.method.input)) : []), [catalogue, operation]);
  const choose = (type: string | null) => {
    const chosen = type ? catalogue.operationOf(type) : undefined;
    const empty = chosen ? emptyFields(specOf(catalogue, chosen.method.input)) : {};
    change({ type: type ?? "", fields: empty });
  };
  return (
    <Fieldset legend={spec.label} radius="sm" p="sm" miw={0}>
      <Stack gap="md">
        <Select
          id={id}
          label="Operation"
          description={operation?.comment ?? spec.help}
          placeholder="Choose what is to be done"
          error={error}
          required={spec.required}
          searchable
          selectFirstOptionOnChange
          nothingFoundMessage="No operation has that in its title."
          data={types}
          value={value.type || null}
          onChange={choose}
        />
        {value.unknown && (
          <Text size="sm">A request of the type {value.type}, which is not known here; it is kept as it is.</Text>
        )}
        {operation && <FieldRows fields={fields} path={path} />}
      </Stack>
    </Fieldset>
  );
}

/** The fields without those that belong to one submission. */
function asked(fields: readonly FieldSpec[]): readonly FieldSpec[] {
  return fields.filter((field) => !["request_id", "preview", "changes", "etag"].includes(field.control.kind));
}

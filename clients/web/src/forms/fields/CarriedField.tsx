// What the form itself carries: whether it insists on the object as it was read, the id of the request, what was changed.
import { Checkbox, Code, Group, Input, Text, TextInput } from "@mantine/core";
import { useField, useForm } from "../context";
import type { Carried } from "../spec";
import { humanise } from "../words";
import type { FieldProps } from "./FieldView";

export function CarriedField({ spec, path, kind }: FieldProps & { kind: Carried }) {
  const { carrying, setRequestId } = useForm();
  const { value, change, error, id } = useField<boolean | string>(path);
  switch (kind) {
    case "etag":
      return (
        <Checkbox
          id={id}
          label="Only if it has not changed since this form was opened"
          description={spec.help}
          error={error}
          disabled={!carrying.etag}
          checked={value === true && carrying.etag !== ""}
          onChange={(event) => change(event.currentTarget.checked)}
        />
      );
    case "request_id":
      return (
        <TextInput
          id={id}
          label={spec.label}
          description={spec.help}
          error={error}
          value={carrying.requestId}
          spellCheck={false}
          onChange={(event) => setRequestId(event.currentTarget.value)}
        />
      );
    case "changes":
      return (
        <Input.Wrapper label={spec.label} description={spec.help} error={error} labelElement="div">
          <Group gap="xs" pt={4}>
            {carrying.changes.length === 0 && <Text size="sm">Nothing has been changed yet.</Text>}
            {carrying.changes.map((name) => (
              <Code key={name} title={name}>
                {humanise(name)}
              </Code>
            ))}
          </Group>
        </Input.Wrapper>
      );
    case "preview":
      return null;
  }
}

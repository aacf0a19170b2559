// A message inside a form: a group of fields under its name, what most people never set folded away.
import { Fieldset, Stack, Text } from "@mantine/core";
import { useForm } from "../context";
import { pathText } from "../draft";
import type { FieldSpec } from "../spec";
import { FieldRows } from "../FieldRows";
import type { FieldProps } from "./FieldView";

interface Props extends FieldProps {
  fields: readonly FieldSpec[];
}

export function MessageField({ spec, path, fields }: Props) {
  const error = useForm().errors[pathText(path)];
  return (
    <Fieldset legend={spec.label} variant="default" radius="sm" p="sm" miw={0}>
      <Stack gap="sm">
        <Text size="xs" c="dimmed">
          {spec.help}
        </Text>
        {error && (
          <Text size="xs" c="var(--mantine-color-error)" role="alert">
            {error}
          </Text>
        )}
        <FieldRows fields={fields} path={path} />
      </Stack>
    </Fieldset>
  );
}

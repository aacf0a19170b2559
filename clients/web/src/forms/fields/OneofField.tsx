// A choice of which field is said: one of several, or none.
import { Fieldset, SegmentedControl, Stack, Text } from "@mantine/core";
import { useField } from "../context";
import type { FieldSpec } from "../spec";
import { FieldView, type FieldProps } from "./FieldView";

interface Props extends FieldProps {
  members: readonly FieldSpec[];
}

/** Its path is that of the message around it, as its members are fields of that. */
export function OneofField({ spec, path, members }: Props) {
  const { value, change } = useField<string>([...path, `?${spec.name}`]);
  const chosen = members.find((member) => member.name === value);
  return (
    <Fieldset legend={spec.label} radius="sm" p="sm" miw={0}>
      <Stack gap="sm">
        <Text size="xs" c="dimmed">
          {spec.help}
        </Text>
        <SegmentedControl
          aria-label={spec.label}
          w="fit-content"
          maw="100%"
          data={[{ value: "", label: "None" }, ...members.map((member) => ({ value: member.name, label: member.label }))]}
          value={value}
          onChange={change}
        />
        {chosen && <FieldView key={chosen.name} spec={{ ...chosen, required: true }} path={[...path, chosen.name]} />}
      </Stack>
    </Fieldset>
  );
}

// A field that is one of a few values, each with what the protos say of it.
import { Group, Select, Stack, Text } from "@mantine/core";
import { IconCheck } from "@tabler/icons-react";
import { useField } from "../context";
import type { Choice } from "../spec";
import type { FieldProps } from "./FieldView";

interface Props extends FieldProps {
  choices: readonly Choice[];
  unset: string;
}

export function ChoiceField({ spec, path, choices, unset }: Props) {
  const { value, change, error, id } = useField<string>(path);
  const chosen = choices.find((choice) => String(choice.number) === value);
  return (
    <Select
      id={id}
      label={spec.label}
      description={spec.help}
      error={error}
      required={spec.required}
      placeholder="Not set"
      clearable={!spec.required}
      clearButtonProps={{ "aria-label": `Clear ${spec.label}` }}
      data={choices.map((choice) => ({ value: String(choice.number), label: choice.label }))}
      value={value === "" ? null : value}
      onChange={(picked) => change(picked ?? "")}
      inputWrapperOrder={["label", "description", "input", "error"]}
      title={chosen?.help ?? unset}
      renderOption={({ option, checked }) => (
        <Group wrap="nowrap" gap="xs">
          <Stack gap={0} flex={1}>
            <Text size="sm">{option.label}</Text>
            <Text size="xs" c="dimmed">
              {choices.find((choice) => String(choice.number) === option.value)?.help}
            </Text>
          </Stack>
          {checked && <IconCheck size={16} aria-hidden />}
        </Group>
      )}
    />
  );
}

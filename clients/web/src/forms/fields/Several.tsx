// The frame of a field that has several items: what it is, what is wrong with it, the items, and a button for one more.
import { Button, Fieldset, Stack, Text } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import type { ReactNode } from "react";
import type { FieldSpec } from "../spec";

interface Props {
  id: string;
  spec: FieldSpec;
  error: string | undefined;
  /** What one item is called within a sentence. */
  noun: string;
  onAdd: () => void;
  children: ReactNode;
}

export function Several({ id, spec, error, noun, onAdd, children }: Props) {
  return (
    <Fieldset id={id} legend={spec.label} radius="sm" p="sm" miw={0}>
      <Stack gap="sm">
        <Text size="xs" c="dimmed">
          {spec.help}
        </Text>
        {error && (
          <Text size="xs" c="var(--mantine-color-error)" role="alert">
            {error}
          </Text>
        )}
        {children}
        <Button variant="light" size="compact-sm" w="fit-content" leftSection={<IconPlus size={16} aria-hidden />} onClick={onAdd}>
          Add {noun}
        </Button>
      </Stack>
    </Fieldset>
  );
}

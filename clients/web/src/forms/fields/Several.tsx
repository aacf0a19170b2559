// The frame of a field that has several items: what it is, what is wrong with it, the items, and a button for one more.
import { Button, Fieldset, Stack, Text } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { Children, useEffect, useRef, type ReactNode, type RefObject } from "react";
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
  const adder = useRef<HTMLButtonElement>(null);
  useFocusOnItems(adder, Children.count(children));
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
        <Button ref={adder} variant="light" size="compact-sm" w="fit-content" leftSection={<IconPlus size={16} aria-hidden />} onClick={onAdd}>
          Add {noun}
        </Button>
      </Stack>
    </Fieldset>
  );
}

/** Puts who adds an item at its first field, and who removes one at the button for another: its own is gone. */
function useFocusOnItems(adder: RefObject<HTMLButtonElement | null>, count: number): void {
  const before = useRef(count);
  useEffect(() => {
    const { activeElement } = document;
    if (count > before.current && activeElement === adder.current) {
      adder.current?.previousElementSibling?.querySelector<HTMLElement>("input, textarea")?.focus();
    } else if (count < before.current && activeElement === document.body) adder.current?.focus();
    before.current = count;
  }, [adder, count]);
}
